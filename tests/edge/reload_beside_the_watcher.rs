//! A reload and the look at changed files, which come when they like: a token that the newest configuration
//! does not know lets nobody in.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;
use wrtc_gateway::config::{Config, OperatorToken, Reload, Role};

use crate::support::{File, Gateway};

async fn ask(gateway: &Gateway, operator: &str) -> u16 {
    crate::wrote::secret("an operator's token", operator);
    let request = Client::new().post(gateway.url("/api/tokens")).bearer_auth(operator);
    let request = request.body(json!({"dn": "5000"}).to_string());
    request.send().await.unwrap().status().as_u16()
}

fn config(file: &File) -> Config {
    let sets = [
        "http.listen=127.0.0.1:0".to_owned(),
        "sip.servers=127.0.0.1".to_owned(),
        file.set("http.operator_tokens_file"),
    ];
    Config::load(None, [], &sets).unwrap()
}

fn token(name: &str) -> (String, String) {
    let (token, line) = OperatorToken::make(Role::Act, Some(name));
    (token.expose().to_owned(), line)
}

/// The file is a pipe, so that the look takes until the test has written into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_began_before_a_reload_does_not_undo_it() {
    let ((old, old_line), (new, new_line)) = (token("old"), token("new"));
    let (before, after) = (File::new(&old_line), File::new(&new_line));
    let gateway = Gateway::start(&[&before.set("http.operator_tokens_file")]).await;
    assert_eq!(ask(&gateway, &old).await, 200);

    let pipe = before.path.with_extension("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &before.path).unwrap();
    let path = before.path.clone();
    // Opens when the other side does: the look has begun.
    let open = move || std::fs::File::options().write(true).open(path).unwrap();
    let mut writer = tokio::task::spawn_blocking(open).await.unwrap();

    let commit = gateway.control.prepare(&config(&after)).unwrap();
    let reload = tokio::task::spawn_blocking(commit);
    // Either it is through or it waits for the look.
    let patience = Instant::now() + Duration::from_secs(1);
    while !reload.is_finished() && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writer.write_all(old_line.as_bytes()).unwrap();
    drop(writer);
    reload.await.unwrap();
    // Fewer than the tries that a guesser has.
    for _ in 0..4 {
        assert_eq!((ask(&gateway, &old).await, ask(&gateway, &new).await), (401, 200));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_between_reading_and_taking_over_is_read_again() {
    let ((revoked, revoked_line), (kept, kept_line)) = (token("revoked"), token("kept"));
    let first = File::new(&kept_line);
    let second = File::new(&format!("{kept_line}\n{revoked_line}\n"));
    let gateway = Gateway::start(&[&first.set("http.operator_tokens_file")]).await;
    let read = config(&second);
    second.write(&kept_line);
    let commit = gateway.control.prepare(&read).unwrap();
    tokio::task::spawn_blocking(commit).await.unwrap();
    assert_eq!(ask(&gateway, &kept).await, 200);
    let end = Instant::now() + Duration::from_secs(60);
    while ask(&gateway, &revoked).await == 200 {
        assert!(Instant::now() < end, "the revoked token lets its holder in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

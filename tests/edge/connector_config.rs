//! Tokens of the connector: read from both places, and never shown.

use std::io::Write;

use wrtc_gateway::config::{BarePaths, Config};
use wrtc_gateway::secret::Secret;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210";

fn load(sets: &[String]) -> Result<Config, String> {
    let mut all = vec!["sip.servers=127.0.0.1".to_owned()];
    all.extend_from_slice(sets);
    Config::load(None, [], &all).map_err(|faults| faults.to_string())
}

fn file(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("wrtc-{}-{name}", std::process::id()));
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

#[test]
fn tokens_come_from_the_list_and_from_the_file() {
    let path = file("tokens", &format!("# of the desk\n\n{OTHER} = 5002 # a comment\n"));
    let sets = [
        format!("connector.tokens={TOKEN}=5001"),
        format!("connector.tokens_file={}", path.display()),
        "connector.bare_paths=off".to_owned(),
    ];
    let connector = load(&sets).unwrap().http.connector;
    std::fs::remove_file(path).unwrap();
    let expected = [(TOKEN, "5001"), (OTHER, "5002")];
    assert_eq!(connector.tokens, expected.map(|(t, dn)| (Secret::new(t), dn.to_owned())));
    assert_eq!(connector.bare_paths, BarePaths::Off);
    assert!(!format!("{connector:?}").contains(TOKEN));
    assert_eq!(load(&[]).unwrap().http.connector.bare_paths, BarePaths::Auto);
}

#[test]
fn faults_are_told_without_the_token() {
    for (tokens, part) in [
        ("0123456789abcdeX".to_owned(), "entry 1 has no `=`"),
        ("0123456789abcde=5001".to_owned(), "16 to 128"),
        ("0123456789abcde/f=5001".to_owned(), "16 to 128"),
        (format!("{TOKEN}=5001,{TOKEN}=5002"), "entry 2 is there twice"),
        (format!("{TOKEN}=50 01"), "no DN"),
        (format!("{TOKEN}="), "no DN"),
    ] {
        let faults = load(&[format!("connector.tokens={tokens}")]).unwrap_err();
        assert!(faults.contains("connector.tokens") && faults.contains(part), "{faults}");
        assert!(!faults.contains("0123456789"), "{faults}");
    }
    let path = file("twice", &format!("{TOKEN}=5002\n"));
    let sets = [
        format!("connector.tokens={TOKEN}=5001"),
        format!("connector.tokens_file={}", path.display()),
    ];
    let faults = load(&sets).unwrap_err();
    std::fs::remove_file(path).unwrap();
    assert!(faults.contains("connector.tokens_file") && !faults.contains(TOKEN), "{faults}");
    let faults = load(&["connector.tokens_file=/nonexistent/tokens".to_owned()]).unwrap_err();
    assert!(faults.contains("cannot be read"), "{faults}");
}

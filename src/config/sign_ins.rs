//! Who may sign in: `agents.sign_in` and `agents.guests`.

use super::load::Loader;
use super::parse;
use super::secrets::{DnSecrets, SecretsFor};
use super::security::Operators;
use super::token_keys::TokenKeys;

/// Who decides whether a DN is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignInBy {
    /// The SIP server alone: whoever it lets register.
    #[default]
    Sip,
    /// Who has the DN's secret that the gateway has, or a one-time token; the SIP server then.
    Secret,
    /// Who has a one-time token; the SIP server then.
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignIns {
    pub by: SignInBy,
    /// Guests have no DN and no password: nobody else decides about them.
    pub guests: bool,
}

impl Loader {
    pub(super) fn sign_ins(
        &mut self,
        secrets: &DnSecrets,
        operators: &Operators,
        keys: &TokenKeys,
    ) -> SignIns {
        let words =
            [("sip", SignInBy::Sip), ("secret", SignInBy::Secret), ("token", SignInBy::Token)];
        let by = self.take("agents.sign_in", |raw| parse::word(raw, &words)).unwrap_or_default();
        let has_secrets = secrets.file.is_some() || !secrets.command.is_empty();
        if by == SignInBy::Secret && !has_secrets {
            let reason = "the gateway has no DN's secret to compare with";
            let remedy = "give agents.secrets_file or agents.secrets_command";
            self.clash("agents.sign_in", reason, remedy);
        }
        // A token may come from another gateway that has the key.
        let gives_tokens = !operators.tokens.is_empty() || operators.file.is_some();
        if by == SignInBy::Token && !gives_tokens && keys.file.is_none() {
            let reason = "nobody may ask for one-time tokens here, and none of elsewhere is known";
            let remedy = "give http.operator_tokens_file, or agents.token_key_file";
            self.clash("agents.sign_in", reason, remedy);
        }
        if by != SignInBy::Sip && secrets.given_to == SecretsFor::Origins {
            let reason = "agents.secrets_for is \"origins\": pages would sign in without either";
            self.clash("agents.sign_in", reason, "take agents.secrets_for = \"tokens\"");
        }
        let words = [("on", true), ("off", false)];
        let guests = self.take("agents.guests", |raw| parse::word(raw, &words)).unwrap_or(true);
        SignIns { by, guests }
    }
}

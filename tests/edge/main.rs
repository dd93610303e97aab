//! The HTTP surfaces, the mailbox behind them and the configuration, without SIP.

#[path = "../wrote/keep.rs"]
mod wrote;

mod support;

mod certificates;
mod client_addresses;
mod config_faults_show_no_source;
mod config_load;
mod connector_config;
mod delivery;
mod dn_secrets;
mod host_names;
mod http_connector;
mod http_history;
mod http_jsapi;
mod http_metrics;
mod http_rest;
mod http_rules;
mod http_tokens;
mod keys_of_tokens;
mod operations_events;
mod operations_lists;
mod operations_probes;
mod operator_tokens;
mod operators_are_named;
mod ports_given_twice;
mod proxies_are_not_this_machine;
mod reload_beside_the_watcher;
mod security_headers;
mod sign_in_flood;
mod tls_or_not_takes_a_restart;
mod who_may_sign_in;
mod wire_dialects;

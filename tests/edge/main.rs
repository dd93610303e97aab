//! The HTTP surfaces, the mailbox behind them and the configuration, without SIP.

mod support;

mod config_load;
mod connector_config;
mod delivery;
mod http_connector;
mod http_history;
mod http_jsapi;
mod http_metrics;
mod http_rest;
mod http_rules;
mod http_tokens;
mod operations_events;
mod operations_lists;
mod operations_probes;
mod wire_dialects;

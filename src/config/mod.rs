//! Configuration: one TOML file, the environment, `--set`; validated whole before a port is opened.

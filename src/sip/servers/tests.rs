//! Scripted pings and failures, under virtual time.

//! The faults that requests share, for the API's document. Each module is those of a dialect.

#![allow(dead_code, reason = "types for the document alone")]

/// The JSAPI's: a sentence.
pub(super) mod text {
    use utoipa::IntoResponses;

    #[derive(IntoResponses)]
    pub(in crate::http) enum OriginFault {
        /// The page's origin is not in `http.allowed_origins`.
        #[response(status = 403)]
        Origin(String),
    }

    #[derive(IntoResponses)]
    pub(in crate::http) enum SessionFaults {
        /// The page's origin is not in `http.allowed_origins`.
        #[response(status = 403)]
        Origin(String),
        /// There is no such session, or not any more.
        #[response(status = 404)]
        Unknown(String),
    }

    #[derive(IntoResponses)]
    pub(in crate::http) enum BodyFaults {
        /// The body cannot be used.
        #[response(status = 400)]
        Bad(String),
        /// The body took longer than 20 s.
        #[response(status = 408)]
        Slow(String),
        /// The body is larger than 64 KiB.
        #[response(status = 413)]
        TooLarge(String),
    }

    #[derive(IntoResponses)]
    pub(in crate::http) enum SignInFaults {
        /// The id is empty, too long, or not fit for a SIP URI.
        #[response(status = 400)]
        Bad(String),
        /// The SIP server or the gateway refused the credentials, or the one-time token is not known (any more).
        #[response(status = 401)]
        Refused(String),
        /// The SIP server forbids the DN, guests may not sign in, or the page's origin is not in `http.allowed_origins`.
        #[response(status = 403)]
        Forbidden(String),
        /// The SIP server does not know the DN.
        #[response(status = 404)]
        Unknown(String),
        /// Too many failed tries; `Retry-After` says when to come back.
        #[response(status = 429, headers(("Retry-After" = u64)))]
        TooMany(String),
        /// The SIP server is out of reach or did not answer, or the gateway is full.
        #[response(status = 503)]
        Unavailable(String),
    }
}

/// Those of everything below `/api/`.
pub(super) mod json {
    use utoipa::IntoResponses;

    use crate::http::reply::ErrorReply;

    #[derive(IntoResponses)]
    pub(in crate::http) enum SessionFaults {
        /// A parameter is missing or malformed.
        #[response(status = 400)]
        Bad(ErrorReply),
        /// The page's origin is not in `http.allowed_origins`.
        #[response(status = 403)]
        Origin(ErrorReply),
        /// There is no such session, or not any more.
        #[response(status = 404)]
        Unknown(ErrorReply),
    }

    /// Of `POST /api/tokens`.
    #[derive(IntoResponses)]
    pub(in crate::http) enum TokenFaults {
        /// The body cannot be used.
        #[response(status = 400)]
        Bad(ErrorReply),
        /// No operator's token, or one that `http.operator_tokens` does not know.
        #[response(status = 401)]
        Operator(ErrorReply),
        /// The page's origin is not in `http.allowed_origins`.
        #[response(status = 403)]
        Origin(ErrorReply),
        /// The body took longer than 20 s.
        #[response(status = 408)]
        Slow(ErrorReply),
        /// The body is larger than 64 KiB.
        #[response(status = 413)]
        TooLarge(ErrorReply),
        /// Too many wrong tokens; `Retry-After` says when to come back.
        #[response(status = 429, headers(("Retry-After" = u64)))]
        TooMany(ErrorReply),
    }

    /// Of whatever operators ask.
    #[derive(IntoResponses)]
    pub(in crate::http) enum OperatorFaults {
        /// No operator's token, or one that is not known.
        #[response(status = 401)]
        Operator(ErrorReply),
        /// The token may not; there are no tokens, and the request is not from this machine; the page's origin
        /// is not in `http.allowed_origins`.
        #[response(status = 403)]
        Forbidden(ErrorReply),
        /// Too many wrong tokens; `Retry-After` says when to come back.
        #[response(status = 429, headers(("Retry-After" = u64)))]
        TooMany(ErrorReply),
    }

    #[derive(IntoResponses)]
    pub(in crate::http) enum BodyFaults {
        /// The body or a parameter cannot be used.
        #[response(status = 400)]
        Bad(ErrorReply),
        /// The body took longer than 20 s.
        #[response(status = 408)]
        Slow(ErrorReply),
        /// The body is larger than 64 KiB.
        #[response(status = 413)]
        TooLarge(ErrorReply),
    }

    #[derive(IntoResponses)]
    pub(in crate::http) enum SignInFaults {
        /// A parameter is missing or malformed.
        #[response(status = 400)]
        Bad(ErrorReply),
        /// The SIP server or the gateway refused the credentials, or the one-time token is not known (any more).
        #[response(status = 401)]
        Refused(ErrorReply),
        /// The SIP server forbids the DN, or the page's origin is not in `http.allowed_origins`.
        #[response(status = 403)]
        Forbidden(ErrorReply),
        /// The SIP server does not know the DN.
        #[response(status = 404)]
        Unknown(ErrorReply),
        /// The id is signed in with another DN.
        #[response(status = 409)]
        InUse(ErrorReply),
        /// Too many failed tries; `Retry-After` says when to come back.
        #[response(status = 429, headers(("Retry-After" = u64)))]
        TooMany(ErrorReply),
        /// The SIP server is out of reach, or the gateway is full.
        #[response(status = 503)]
        Unavailable(ErrorReply),
        /// The SIP server did not answer.
        #[response(status = 504)]
        NoAnswer(ErrorReply),
    }
}

/// The connector's.
pub(super) mod connector {
    use utoipa::IntoResponses;

    use crate::wire::connector::FaultReply;

    /// Of every request.
    #[derive(IntoResponses)]
    pub(in crate::http) enum AnyFault {
        /// The body cannot be used, or there is no such request.
        #[response(status = 400)]
        Bad(FaultReply<'static>),
        /// Without a token: not on this gateway, or not for this client. The page's origin is not in
        /// `http.allowed_origins`.
        #[response(status = 403)]
        Forbidden(FaultReply<'static>),
        /// With a token: it is not known, or not any more.
        #[response(status = 404)]
        Unknown(FaultReply<'static>),
        /// The body took longer than 20 s.
        #[response(status = 408)]
        Slow(FaultReply<'static>),
        /// The body is larger than 64 KiB.
        #[response(status = 413)]
        TooLarge(FaultReply<'static>),
    }
}

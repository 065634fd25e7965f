//! What a Microsoft server, or any, objects to in a request of ours.

use entente_load::sip::{SipText, parameter, uri_of};

/// Extensions that would promise what we do not do.
const NEVER_SUPPORTED: [&str; 3] = ["ms-text-format", "ms-benotify", "ms-piggyback-first-notify"];

/// The faults of a request from a user of another domain.
pub fn faults_of(request: &SipText) -> Vec<String> {
    let mut faults = Vec::new();
    let mut object = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{what}:\n{request}"));
        }
    };
    for name in ["from", "to", "call-id", "cseq", "max-forwards"] {
        object(
            request.values(name).len() == 1,
            &format!("exactly one {name}"),
        );
    }
    let method = request.method().unwrap_or("");
    object(request.cseq_method() == method, "CSeq names the method");
    let via = request.values("via").first().copied().unwrap_or("");
    object(via.starts_with("SIP/2.0/TLS "), "Via says TLS");
    object(
        parameter(via, "branch").is_some_and(|branch| branch.starts_with("z9hG4bK")),
        "the branch has the cookie",
    );
    object(
        request.from_tag().is_some_and(|tag| !tag.is_empty()),
        "From has a tag",
    );
    for name in ["from", "to"] {
        let uri = uri_of(request.header(name).unwrap_or(""));
        object(
            uri.starts_with("sip:") && !uri.contains([';', '/', '?']),
            &format!("a plain address in {name}"),
        );
    }
    object(
        !request.names().any(|name| {
            let name = name.to_ascii_lowercase();
            name.starts_with("ms-") || name.starts_with("p-asserted")
        }),
        "no trust headers",
    );
    object(request.header("require").is_none(), "nothing required");
    let supported = request.values("supported");
    object(
        !supported.iter().any(|one| NEVER_SUPPORTED.contains(one)),
        "no extension promised that is not there",
    );
    if ["INVITE", "SUBSCRIBE", "NOTIFY"].contains(&method) {
        let contact = request.header("contact").unwrap_or("");
        object(uri_of(contact).starts_with("sip:"), "a Contact");
    }
    let kind = request
        .header("content-type")
        .unwrap_or("")
        .to_ascii_lowercase();
    object(
        kind.is_empty() == request.body().is_empty(),
        "a type where there is a body, and only there",
    );
    match method {
        "INVITE" => {
            let sdp = request.body_text();
            object(kind.starts_with("application/sdp"), "SDP");
            object(
                sdp.contains("\nm=message ") && sdp.contains("\na=accept-types:"),
                "SDP with a message line",
            );
        }
        "MESSAGE" => {
            object(request.to_tag().is_some(), "texts only inside a session");
            object(
                kind.starts_with("text/plain") && kind.contains("utf-8")
                    || kind == "application/im-iscomposing+xml",
                "text/plain in UTF-8",
            );
        }
        "SUBSCRIBE" => {
            object(request.header("event") == Some("presence"), "Event");
            object(
                request.values("accept") == ["application/pidf+xml"],
                "PIDF only",
            );
            object(request.header("expires").is_some(), "Expires");
        }
        "NOTIFY" => {
            object(request.header("event") == Some("presence"), "Event");
            object(
                request.header("subscription-state").is_some(),
                "Subscription-State",
            );
            object(
                kind.is_empty() || kind.starts_with("application/pidf+xml"),
                "PIDF",
            );
            let text = request.body_text();
            object(
                !text.contains("urn:ietf:params:xml:ns:pidf:rpid\"")
                    && !text.contains("pidf:data-model"),
                "no RFC 4480 for those who do not read it",
            );
        }
        _ => {}
    }
    faults
}

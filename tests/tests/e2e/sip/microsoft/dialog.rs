//! The state of one dialog at the peer, and the routes that its edge signs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use entente_load::sip::{SipText, SipWriter, token, uri_of};
use ring::hmac;

/// What a dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Session,
    /// Our user watches theirs.
    Watching,
    /// Their user watches ours.
    Watched,
}

/// One dialog, from the side of the peer's user.
#[derive(Debug, Clone)]
pub struct Dialog {
    pub purpose: Purpose,
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: Option<String>,
    /// Addresses without scheme.
    pub local: String,
    pub remote: String,
    pub local_cseq: u32,
    pub remote_cseq: u32,
    /// Where requests to the other side go, once it has said so.
    pub target: String,
    /// The other side's route set, as values of Route.
    pub routes: Vec<String>,
    /// Ours: the Record-Route values that we gave, in the order in which the other must use them.
    pub signed: Vec<String>,
    /// The GRUU that we gave.
    pub contact: String,
    pub ended: bool,
}

impl Dialog {
    /// One that our user begins.
    pub fn begin(purpose: Purpose, local: &str, remote: &str) -> Self {
        Self {
            purpose,
            call_id: token(),
            local_tag: token(),
            remote_tag: None,
            local: local.to_owned(),
            remote: remote.to_owned(),
            local_cseq: 0,
            remote_cseq: 0,
            target: format!("sip:{remote}"),
            routes: Vec::new(),
            signed: Vec::new(),
            contact: gruu(local),
            ended: false,
        }
    }

    /// One that a request of the other side begins.
    pub fn asked(purpose: Purpose, request: &SipText) -> Self {
        let address = |name: &str| {
            let uri = uri_of(request.header(name).unwrap_or(""));
            uri.trim_start_matches("sip:").to_owned()
        };
        let mut dialog = Self::begin(purpose, &address("to"), &address("from"));
        dialog.call_id = request.call_id().to_owned();
        dialog.remote_tag = request.from_tag().map(str::to_owned);
        dialog.remote_cseq = request.cseq();
        dialog.routes = owned(request.values("record-route"));
        dialog.learn_target(request);
        dialog
    }

    /// Takes over what the other side's first answer says (RFC 3261 section 12.1.2).
    pub fn answered(&mut self, answer: &SipText) {
        // Also when a NOTIFY came before it and brought the tag.
        self.remote_tag = answer.to_tag().map(str::to_owned);
        self.routes = owned(answer.values("record-route"));
        self.routes.reverse();
        // Our own edge's and pool's entries are not for us.
        let signed = uris(&self.signed);
        self.routes.retain(|route| !signed.contains(&uri_of(route)));
        self.learn_target(answer);
    }

    pub fn learn_target(&mut self, message: &SipText) {
        if let Some(contact) = message.header("contact") {
            uri_of(contact).clone_into(&mut self.target);
        }
    }

    /// The beginning of the next request: everything but Via, extensions and body. ACK takes the
    /// number of the last INVITE, which was the last request.
    pub fn request(&mut self, method: &str, via: &str) -> SipWriter {
        if method != "ACK" {
            self.local_cseq += 1;
        }
        let to_tag = self
            .remote_tag
            .as_ref()
            .map_or_else(String::new, |tag| format!(";tag={tag}"));
        let mut writer = SipWriter::new(format_args!("{method} {} SIP/2.0", self.target))
            .header("Via", via)
            .header("Max-Forwards", 68);
        if self.remote_tag.is_none() {
            // The edge stands before the pool: its entry is on top.
            for value in &self.signed {
                writer = writer.header("Record-Route", value);
            }
        }
        for route in &self.routes {
            writer = writer.header("Route", route);
        }
        writer
            .header(
                "From",
                format_args!(
                    "\"{0}\"<sip:{0}>;tag={1};epid=0123ab45",
                    self.local, self.local_tag
                ),
            )
            .header("To", format_args!("<sip:{}>{to_tag}", self.remote))
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{} {method}", self.local_cseq))
            .header(
                "User-Agent",
                "UCCAPI/4.0.7577.314 OC/4.0.7577.314 (Microsoft Lync 2010)",
            )
            .header(
                "ms-asserted-verification-level",
                "ms-source-verified-user=verified",
            )
            .header(
                "ms-edge-proxy-message-trust",
                "ms-source-type=DirectPartner;ms-source-verified-user=verified",
            )
    }

    /// What is wrong with a request inside this dialog.
    pub fn faults_of(&self, request: &SipText) -> Vec<String> {
        let mut faults = Vec::new();
        if request.request_uri() != self.contact {
            faults.push(format!(
                "the Request-URI is not the Contact {}:\n{request}",
                self.contact
            ));
        }
        if request.from_tag() != self.remote_tag.as_deref() {
            faults.push(format!("another From tag in the dialog:\n{request}"));
        }
        let cseq = request.cseq();
        let falls = if request.is("ACK") {
            cseq < self.remote_cseq
        } else {
            cseq <= self.remote_cseq
        };
        if falls {
            faults.push(format!("CSeq after {}:\n{request}", self.remote_cseq));
        }
        faults
    }
}

/// A contact of a user, with colons in a parameter and a flag without a value.
fn gruu(user: &str) -> String {
    format!("sip:{user};opaque=user:epid:Q3a_{}AA;gruu", &token()[..6])
}

/// What stands between the brackets of each.
pub fn uris(values: &[impl AsRef<str>]) -> Vec<&str> {
    values.iter().map(|value| uri_of(value.as_ref())).collect()
}

fn owned(values: Vec<&str>) -> Vec<String> {
    values.into_iter().map(str::to_owned).collect()
}

/// The two routes that a dialog has on the peer's side: edge, then pool; each is signed for the
/// Call-ID.
pub fn signed_routes(key: &hmac::Key, domain: &str, port: u16, call_id: &str) -> Vec<String> {
    let edge = format!("sip:edge.{domain}:{port};transport=tls;opaque=state:Ci.R53c00;lr");
    let pool =
        format!("sip:pool.{domain}:5061;transport=tls;ms-fe=fe1.{domain};opaque=state:F:Ci.R0");
    [(edge, ""), (pool, ";lr")]
        .into_iter()
        .map(|(uri, rest)| {
            let sig = signature(key, &uri, call_id);
            format!("<{uri};ms-route-sig={sig}{rest}>;tag={:08X}", sig.len())
        })
        .collect()
}

/// Whether a Route value is signed for this Call-ID by the present key.
pub fn is_signed(key: &hmac::Key, route: &str, call_id: &str) -> bool {
    let Some((before, rest)) = uri_of(route).split_once(";ms-route-sig=") else {
        return false;
    };
    signature(key, before, call_id) == rest.split(';').next().unwrap_or("")
}

fn signature(key: &hmac::Key, uri: &str, call_id: &str) -> String {
    let tag = hmac::sign(key, format!("{uri}|{call_id}").as_bytes());
    // Letters, digits, '+' and '/': all legal in a parameter, none of them to be touched.
    format!("aa{}", BASE64_STANDARD_NO_PAD.encode(&tag.as_ref()[..18]))
}

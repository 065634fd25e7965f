//! What a test does with one session or one subscription of a peer's user.

use std::sync::Arc;
use std::time::Duration;

use entente_load::sip::SipText;

use super::dialog::{Dialog, Purpose, uris};
use super::document::{Document, Shown};
use super::peer::{MicrosoftPeer, PeerRules, is_to, sdp};
use crate::harness::PATIENCE;

/// A session for instant messages, from the side of the peer's user.
pub struct Session {
    rules: Arc<PeerRules>,
    pub call_id: String,
}

/// A subscription of the peer's user to somebody's presence.
pub struct Watch {
    rules: Arc<PeerRules>,
    pub call_id: String,
}

impl MicrosoftPeer {
    /// Invites, with the first text in the INVITE as Office Communicator does; where the other side
    /// does not say that it took the text, it is sent again. Addresses are without scheme. Without a
    /// session the answer comes back.
    pub async fn invite(&self, user: &str, whom: &str, text: &str) -> Result<Session, SipText> {
        let (session, answer) = self.invite_only(user, whom, text).await?;
        if answer.values("supported").contains(&"ms-text-format") {
            let fault = format!("says that it took the text of the INVITE:\n{answer}");
            self.rules.faults.lock().unwrap().push(fault);
        }
        let taken = session.say(text).await;
        if taken.status() == Some(200) {
            Ok(session)
        } else {
            Err(taken)
        }
    }

    /// INVITE and ACK only.
    pub async fn invite_only(
        &self,
        user: &str,
        whom: &str,
        text: &str,
    ) -> Result<(Session, SipText), SipText> {
        use base64::Engine;
        let mut dialog = Dialog::begin(Purpose::Session, user, whom);
        dialog.signed = self.rules.sign(&dialog.call_id);
        let call_id = dialog.call_id.clone();
        let contact = format!(
            "<{}>;proxy=replace;+sip.instance=\"<urn:uuid:4B3D5A1E-0000-5A1E-9A1E-AAAAAAAAAAAA>\"",
            dialog.contact
        );
        let body = base64::prelude::BASE64_STANDARD.encode(text);
        let via = self.rules.wire.via();
        let request = dialog
            .request("INVITE", &via)
            .header("Contact", contact)
            .header("Supported", "ms-delayed-accept, ms-renders-isf, ms-renders-gif, ms-renders-mime-alternative")
            .header("Supported", "timer, histinfo, ms-safe-transfer, ms-sender, ms-text-format, com.microsoft.rtc-multiparty")
            .header("Ms-Text-Format", format_args!("text/plain; charset=UTF-8;msgr=WAAtAE0A;ms-body={body}"))
            .header("Roster-Manager", format_args!("sip:{user}"))
            .header("EndPoints", format_args!("<sip:{user}>, <sip:{whom}>"))
            .header("Ms-Conversation-ID", "AcqU9d3Y2Jmh")
            .header("ms-keep-alive", "UAC;hop-hop=yes")
            .header("Allow", "INVITE, BYE, ACK, CANCEL, INFO, MESSAGE, UPDATE, REFER")
            .body("application/sdp", sdp(self.rules.wire.address).as_bytes());
        self.rules
            .dialogs
            .lock()
            .unwrap()
            .insert(call_id.clone(), dialog);
        let answer = self.rules.wire.ask(request, &self.rules).await;
        if answer.status() != Some(200) {
            let ack = {
                let mut dialogs = self.rules.dialogs.lock().unwrap();
                let mut dialog = dialogs.remove(&call_id).unwrap();
                // The ACK belongs to the same transaction (RFC 3261 section 17.1.1.3).
                dialog.remote_tag = answer.to_tag().map(str::to_owned);
                dialog.request("ACK", &via).end()
            };
            self.rules.wire.send(ack, &self.rules).await.unwrap();
            return Err(answer);
        }
        self.rules.answered(&call_id, &answer);
        let session = Session {
            rules: Arc::clone(&self.rules),
            call_id,
        };
        if !answer.body_text().contains("m=message ") {
            let fault = format!("no message line in the answer to an INVITE:\n{answer}");
            self.rules.faults.lock().unwrap().push(fault);
        }
        let ack = session
            .rules
            .inside(&session.call_id, "ACK", |writer| writer.end());
        self.rules.wire.send(ack, &self.rules).await.unwrap();
        Ok((session, answer))
    }

    /// A session that somebody else began with this user; the peer has accepted it.
    pub async fn expect_session(&self, user: &str) -> Session {
        let what = format!("an INVITE to {user}");
        let request = self
            .expect(&what, |one| one.is("INVITE") && is_to(one, user))
            .await;
        Session {
            rules: Arc::clone(&self.rules),
            call_id: request.call_id().to_owned(),
        }
    }

    /// Subscribes to somebody's presence. Without a subscription the answer comes back.
    pub async fn watch(&self, user: &str, whom: &str, seconds: u32) -> Result<Watch, SipText> {
        let mut dialog = Dialog::begin(Purpose::Watching, user, whom);
        dialog.signed = self.rules.sign(&dialog.call_id);
        let call_id = dialog.call_id.clone();
        self.rules
            .dialogs
            .lock()
            .unwrap()
            .insert(call_id.clone(), dialog);
        let watch = Watch {
            rules: Arc::clone(&self.rules),
            call_id,
        };
        let answer = watch.subscribe(seconds).await;
        match answer.status() {
            Some(200 | 202) => {
                self.rules.answered(&watch.call_id, &answer);
                Ok(watch)
            }
            _ => Err(answer),
        }
    }
}

impl PeerRules {
    /// The first answer that makes a dialog.
    fn answered(&self, call_id: &str, answer: &SipText) {
        let mut dialogs = self.dialogs.lock().unwrap();
        let dialog = dialogs.get_mut(call_id).unwrap();
        let signed = uris(&dialog.signed);
        let copied = answer.values("record-route");
        let mut copied = uris(&copied);
        copied.retain(|uri| signed.contains(uri));
        if copied != signed {
            let fault = format!("Record-Route of the request is not in the answer:\n{answer}");
            self.faults.lock().unwrap().push(fault);
        }
        dialog.answered(answer);
    }

    /// A request inside a dialog.
    fn inside(
        &self,
        call_id: &str,
        method: &str,
        finish: impl FnOnce(entente_load::sip::SipWriter) -> bytes::Bytes,
    ) -> bytes::Bytes {
        let mut dialogs = self.dialogs.lock().unwrap();
        let dialog = dialogs.get_mut(call_id).unwrap();
        finish(dialog.request(method, &self.wire.via()))
    }
}

impl Session {
    async fn ask(&self, method: &str, kind: &str, body: &[u8]) -> SipText {
        let request = self.rules.inside(&self.call_id, method, |writer| {
            if body.is_empty() {
                writer.end()
            } else {
                writer.body(kind, body)
            }
        });
        self.rules.wire.ask(request, &self.rules).await
    }

    /// A text; the answer to it.
    pub async fn say(&self, text: &str) -> SipText {
        self.say_as(
            "text/plain; charset=UTF-8;msgr=WAAtAE0ATQBTAC0A",
            text.as_bytes(),
        )
        .await
    }

    /// A text; whether it was answered with 200 within `limit`. What dies with a connection is not.
    pub async fn try_say(&self, text: &str, limit: Duration) -> bool {
        let request = self.rules.inside(&self.call_id, "MESSAGE", |writer| {
            writer.body("text/plain; charset=UTF-8", text.as_bytes())
        });
        let answer = self.rules.wire.try_ask(request, &self.rules);
        let answer = tokio::time::timeout(limit, answer).await;
        answer.is_ok_and(|answer| answer.is_some_and(|answer| answer.status() == Some(200)))
    }

    /// A text of any type; the answer to it.
    pub async fn say_as(&self, kind: &str, body: &[u8]) -> SipText {
        self.ask("MESSAGE", kind, body).await
    }

    /// That the user types, or no longer does.
    pub async fn typing(&self, types: bool) {
        let status = if types { "type" } else { "idle" };
        let body = format!(
            "<?xml version=\"1.0\"?>\r\n<KeyboardActivity>\r\n  <status status=\"{status}\"/>\r\n</KeyboardActivity>"
        );
        let answer = self.ask("INFO", "application/xml", body.as_bytes()).await;
        assert_eq!(answer.status(), Some(200), "{answer}");
    }

    /// Ends it.
    pub async fn bye(&self) {
        let answer = self.ask("BYE", "", b"").await;
        assert_eq!(answer.status(), Some(200), "{answer}");
        self.rules
            .dialogs
            .lock()
            .unwrap()
            .get_mut(&self.call_id)
            .unwrap()
            .ended = true;
    }

    /// The next request in this session with the method.
    pub async fn expect(&self, method: &str) -> SipText {
        let what = format!("{method} in session {}", self.call_id);
        self.rules
            .expect(&what, PATIENCE, |one| {
                one.is(method) && one.call_id() == self.call_id
            })
            .await
    }

    /// The next text.
    pub async fn expect_text(&self) -> String {
        self.expect("MESSAGE").await.body_text()
    }
}

impl Watch {
    /// SUBSCRIBE, the first or a refresh; 0 seconds end it.
    pub async fn subscribe(&self, seconds: u32) -> SipText {
        let request = {
            let mut dialogs = self.rules.dialogs.lock().unwrap();
            let dialog = dialogs.get_mut(&self.call_id).unwrap();
            let contact = format!("<{}>", dialog.contact);
            dialog
                .request("SUBSCRIBE", &self.rules.wire.via())
                .header("Contact", contact)
                .header("Event", "presence")
                .header(
                    "Accept",
                    "application/pidf+xml, text/xml+msrtc.pidf, application/xpidf+xml",
                )
                .header(
                    "Supported",
                    "ms-benotify, ms-piggyback-first-notify, eventlist, ms-dialog-route-set-update",
                )
                .header("Expires", seconds)
                .end()
        };
        self.rules.wire.ask(request, &self.rules).await
    }

    /// The next NOTIFY, with its document; empty if there is none.
    pub async fn next(&self) -> (SipText, Document) {
        let what = format!("NOTIFY in subscription {}", self.call_id);
        let request = self
            .rules
            .expect(&what, PATIENCE, |one| {
                one.is("NOTIFY") && one.call_id() == self.call_id
            })
            .await;
        let document = Document::read(&request.body_text());
        (request, document)
    }

    /// Waits for a document that shows its user so.
    pub async fn expect(&self, shown: Shown) -> Document {
        self.expect_within(shown, PATIENCE).await
    }

    /// The same with a limit of one's own.
    pub async fn expect_within(&self, shown: Shown, limit: Duration) -> Document {
        let what = format!("NOTIFY with {shown:?} in subscription {}", self.call_id);
        let wanted = |one: &SipText| {
            one.is("NOTIFY")
                && one.call_id() == self.call_id
                && Document::read(&one.body_text()).shown() == shown
        };
        let request = self.rules.expect(&what, limit, wanted).await;
        Document::read(&request.body_text())
    }

    /// Drops what has come and was not looked at.
    pub fn forget_news(&self) {
        self.rules.forget_news(&self.call_id);
    }
}

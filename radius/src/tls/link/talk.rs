//! What goes on while a connection stands.

use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Shared;
use crate::listener::lock;
use crate::tls::Version;
use crate::tls::flights::Heard;
use crate::tls::pipe::Inbox;
use crate::wire::token::{request_of_token, token_of, with_token};
use crate::wire::{Code, Draft, random_authenticator};

impl Shared {
    /// Takes answers and orders, until there are no more: why.
    pub(super) async fn hear<R: AsyncRead + Unpin>(
        &self,
        mut inbox: Inbox<R>,
        version: Version,
        outbox: &mpsc::Sender<Vec<u8>>,
    ) -> String {
        loop {
            let packet = match inbox.next().await {
                Ok(packet) => packet,
                Err(end) => return end.to_string(),
            };
            let code = packet.first().and_then(|octet| Code::from_octet(*octet));
            let is_answer = code.is_some_and(|code| !code.is_request());
            match self.note(version, is_answer.then_some(&packet)) {
                // What was asked is asked again over the next connection.
                Some(Heard::Broken) => return "it brought an answer that is forged or torn".to_owned(),
                None if matches!(code, Some(Code::DisconnectRequest | Code::CoaRequest)) => {
                    self.obey(packet, version, outbox.clone());
                }
                Some(Heard::Answer | Heard::Unasked) | None => {}
            }
        }
    }

    /// The server lives; and what its answer is, if it is one.
    fn note(&self, version: Version, answer: Option<&Vec<u8>>) -> Option<Heard> {
        let mut state = lock(&self.state);
        let heard = answer.map(|answer| state.flights.answered(version, answer));
        if let Some(up) = &mut state.up
            && heard != Some(Heard::Broken)
        {
            up.heard_at = Instant::now();
            up.has_answered |= heard == Some(Heard::Answer);
        }
        heard
    }

    /// Hands an order on, and sends back what became of it. One too many is dropped: it comes again.
    fn obey(&self, packet: Vec<u8>, version: Version, outbox: mpsc::Sender<Vec<u8>>) {
        let (Some(desk), Ok(place)) = (self.desk.get(), Arc::clone(&self.order_places).try_acquire_owned()) else {
            return;
        };
        let desk = Arc::clone(desk);
        tokio::spawn(async move {
            let _place = place;
            let answer = match (version, token_of(&packet)) {
                (Version::V1_1, Some(token)) => {
                    let Ok(order) = request_of_token(&packet) else { return };
                    let Some(answer) = desk(order).await else { return };
                    with_token(&answer, token).ok()
                }
                _ => desk(packet).await.map(|answer| answer.to_vec()),
            };
            if let Some(answer) = answer {
                // If the connection is gone, the order comes again over the next.
                _ = outbox.send(answer).await;
            }
        });
    }

    /// Asks whether the server lives when it was not heard for long, or a question waits; resolves when it does not answer that.
    pub(super) async fn watch_over(&self) {
        let times = self.config.times;
        loop {
            sleep(times.answer.min(times.quiet) / 4).await;
            if !self.is_suspect() {
                continue;
            }
            let mut draft = Draft::request(Code::StatusServer, random_authenticator());
            self.config.nas.write(&mut draft);
            let asked_at = Instant::now();
            let answered = self.ask(Code::StatusServer, draft, times.answer).await;
            let heard = lock(&self.state).up.as_ref().is_some_and(|up| up.heard_at >= asked_at);
            if answered.is_err() && !heard {
                return;
            }
        }
    }

    fn is_suspect(&self) -> bool {
        let times = self.config.times;
        let state = lock(&self.state);
        let Some(up) = &state.up else { return false };
        let waits = state.flights.oldest().map(|since| since.max(up.heard_at));
        up.heard_at.elapsed() >= times.quiet || waits.is_some_and(|since| since.elapsed() >= times.answer)
    }
}

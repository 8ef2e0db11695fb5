//! The push gateway of C-DAC's Mobile Seva, and state gateways of the same shape.

use std::fmt::Write as _;
use std::time::Duration;

use data_encoding::HEXLOWER;
use kavadam_domain::Language;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use super::{Message, Sending, SmsRoute};
use crate::AccessError;

/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(15);

/// An account.
#[derive(Clone)]
pub struct MobileSevaConfig {
    /// Where to post.
    pub url: String,
    /// User name.
    pub username: String,
    /// Password; travels as SHA-1.
    pub password: Zeroizing<String>,
    /// The department's key, which signs each message.
    pub secure_key: Zeroizing<String>,
    /// Six letters.
    pub sender_id: String,
    /// DLT template of the English text.
    pub template_id_en: String,
    /// DLT template of the Malayalam text.
    pub template_id_ml: String,
}

/// Sends through an account.
pub struct MobileSeva {
    config: MobileSevaConfig,
    http: reqwest::Client,
}

impl MobileSeva {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// The machine's certificates cannot be read.
    pub fn new(config: MobileSevaConfig) -> Result<Self, AccessError> {
        // The process's provider of TLS, unless it has one: without C.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let http = http.map_err(|error| AccessError::Invalid(format!("the SMS route cannot be set up: {error}")))?;
        Ok(Self { config, http })
    }

    fn form(&self, message: &Message) -> Vec<(&'static str, Zeroizing<String>)> {
        let config = &self.config;
        let (service, template, content) = match message.language {
            Language::En => ("otpmsg", &config.template_id_en, message.text.clone()),
            Language::Ml => ("unicodeotpmsg", &config.template_id_ml, references(&message.text)),
        };
        let signed = Zeroizing::new(format!(
            "{}{}{}{}",
            config.username.trim(),
            config.sender_id.trim(),
            content.trim(),
            config.secure_key.trim()
        ));
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        vec![
            ("username", plain(&config.username)),
            (
                "password",
                Zeroizing::new(HEXLOWER.encode(&Sha1::digest(config.password.as_bytes()))),
            ),
            ("senderid", plain(&config.sender_id)),
            ("content", content),
            ("smsservicetype", plain(service)),
            ("mobileno", plain(message.number.digits())),
            (
                "key",
                Zeroizing::new(HEXLOWER.encode(&Sha512::digest(signed.as_bytes()))),
            ),
            ("templateid", plain(template)),
        ]
    }
}

impl SmsRoute for MobileSeva {
    async fn send(&self, message: &Message) -> Sending {
        let form = self.form(message);
        let fields: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = match self.http.post(&self.config.url).form(&fields).send().await {
            Ok(answer) => answer,
            // Without a connection nothing was handed over; later than that, nobody knows.
            Err(error) if error.is_connect() => return Sending::Later("the operator cannot be reached".to_owned()),
            Err(_) => return Sending::Unsure("the operator did not answer".to_owned()),
        };
        let status = answer.status();
        // It failed, or what stands before it lost patience, once it had the message: whether it was taken, nobody knows.
        if status.is_server_error() && status != reqwest::StatusCode::SERVICE_UNAVAILABLE {
            let status = status.as_u16();
            return Sending::Unsure(format!("HTTP {status} instead of an operator's answer"));
        }
        // Redirects and "not found" come from somewhere else than the gateway, which took nothing then; nor does one that is out of service.
        if !status.is_success() {
            let status = status.as_u16();
            return Sending::Later(format!(
                "HTTP {status} instead of an operator's answer: is sms.url right?"
            ));
        }
        match answer.text().await {
            Ok(body) => judge(&body),
            Err(_) => Sending::Unsure("the operator's answer broke off".to_owned()),
        }
    }
}

/// Every UTF-16 unit as a decimal character reference, as the gateway wants Unicode.
fn references(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 3));
    for unit in text.encode_utf16() {
        let _ = write!(out, "&#{unit};");
    }
    out
}

/// The operator answers HTTP 200 and a number.
fn judge(body: &str) -> Sending {
    let body = body.trim();
    let code: String = body.chars().take_while(char::is_ascii_digit).take(3).collect();
    match code.as_str() {
        "402" => {
            let reference = body.split_once("MsgID = ").map_or("", |(_, id)| id);
            Sending::Sent(reference.chars().filter(char::is_ascii_alphanumeric).take(64).collect())
        }
        "403" | "404" | "405" | "407" | "408" | "410" | "418" => Sending::Later(format!("operator code {code}")),
        "409" => Sending::Unsure("operator code 409: its centre timed out and will still deliver".to_owned()),
        "" => Sending::Unsure("an answer that is no operator's: is sms.url right?".to_owned()),
        _ => Sending::Refused(format!("operator code {code}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Mutex;

    use super::*;

    /// An operator that writes down one request and answers it.
    async fn operator(status: &'static str, answer: &'static str) -> (String, Arc<Mutex<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/esms/sendsmsrequestDLT", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(String::new()));
        let ear = Arc::clone(&heard);
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let length = stream.read(&mut buffer).await.unwrap();
                request.extend_from_slice(&buffer[..length]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((fields, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let wanted = fields
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if wanted == Some(body.len()) {
                    *ear.lock().await = body.to_owned();
                    break;
                }
            }
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
        });
        (url, heard)
    }

    fn route(url: String) -> MobileSeva {
        MobileSeva::new(MobileSevaConfig {
            url,
            username: "kavadam".into(),
            password: Zeroizing::new("pass".into()),
            secure_key: Zeroizing::new("key".into()),
            sender_id: "KAVADM".into(),
            template_id_en: "1".into(),
            template_id_ml: "2".into(),
        })
        .unwrap()
    }

    fn message(language: Language, text: &str) -> Message {
        Message {
            number: "9876543210".parse().unwrap(),
            language,
            text: Zeroizing::new(text.into()),
        }
    }

    #[tokio::test]
    async fn a_malayalam_message_is_converted_before_it_is_signed() {
        let (url, heard) = operator("200 OK", "402,MsgID = 150620201592226408msdgsms").await;
        let sending = route(url).send(&message(Language::Ml, "കോ 1")).await;
        assert_eq!(sending, Sending::Sent("150620201592226408msdgsms".into()));
        let body = heard.lock().await.clone();
        let key = HEXLOWER.encode(&Sha512::digest("kavadamKAVADM&#3349;&#3403;&#32;&#49;key"));
        for wanted in [
            format!("key={key}"),
            "content=%26%233349%3B%26%233403%3B%26%2332%3B%26%2349%3B".into(),
            "smsservicetype=unicodeotpmsg".into(),
            "mobileno=9876543210".into(),
            "templateid=2".into(),
            format!("password={}", HEXLOWER.encode(&Sha1::digest("pass"))),
        ] {
            assert!(body.contains(&wanted), "{wanted} is missing from {body}");
        }
    }

    #[tokio::test]
    async fn an_operator_that_cannot_be_reached_is_tried_later() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        assert!(matches!(
            route(url).send(&message(Language::En, "x")).await,
            Sending::Later(_)
        ));
    }

    #[tokio::test]
    async fn a_wrong_url_loses_no_message_and_is_named() {
        for status in ["302 Found", "404 Not Found", "403 Forbidden", "503 Service Unavailable"] {
            let (url, _) = operator(status, "<html>").await;
            let Sending::Later(why) = route(url).send(&message(Language::En, "x")).await else {
                panic!("given up after {status}")
            };
            assert!(
                why.contains(status.split(' ').next().unwrap()) && why.contains("sms.url"),
                "{why}"
            );
        }
    }

    #[tokio::test]
    async fn what_a_server_may_have_taken_before_it_failed_is_not_sent_again() {
        for status in ["500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout"] {
            let (url, _) = operator(status, "<html>").await;
            let Sending::Unsure(why) = route(url).send(&message(Language::En, "x")).await else {
                panic!("sent again after {status}")
            };
            assert!(why.contains(status.split(' ').next().unwrap()), "{why}");
        }
    }

    #[test]
    fn what_may_have_been_delivered_is_not_sent_again() {
        assert!(matches!(judge("409,SMSC timeout"), Sending::Unsure(_)));
        assert!(matches!(judge("<html>"), Sending::Unsure(_)));
        assert!(matches!(judge("416,Hash is not matching"), Sending::Refused(_)));
        assert!(matches!(judge("405,Network"), Sending::Later(_)));
    }
}

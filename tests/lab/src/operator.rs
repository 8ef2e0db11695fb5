//! A mobile operator that speaks the push protocol of Mobile Seva: checks what the real one checks, and writes each message
//! down where a real one would deliver it.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::extract::{Form, State};
use axum::routing::post;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

/// The account that everybody in the lab uses.
pub const USERNAME: &str = "kavadam";
/// Its password.
pub const PASSWORD: &str = "the lab's password";
/// Its key.
pub const SECURE_KEY: &str = "the lab's secure key";
/// Its sender.
pub const SENDER: &str = "KAVADM";
/// Its templates, English and Malayalam.
pub const TEMPLATES: [&str; 2] = ["1107170000000000001", "1107170000000000002"];

/// A message as delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    /// To whom.
    pub number: String,
    /// What it says.
    pub text: String,
}

/// Serves until the process ends; messages go to the end of a file, one JSON object a line.
///
/// # Errors
/// The port is taken.
pub async fn serve(listen: SocketAddr, messages: PathBuf) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let router = Router::new()
        .route("/esms/sendsmsrequestDLT", post(push))
        .with_state(messages);
    Ok(axum::serve(listener, router).await?)
}

async fn push(State(messages): State<PathBuf>, Form(form): Form<HashMap<String, String>>) -> String {
    match take(&form) {
        Ok(delivered) => match write_down(&messages, &delivered) {
            Ok(()) => "402,MsgID = 241120260000000001msdgsms".to_owned(),
            Err(_) => "404,Database".to_owned(),
        },
        Err(code) => code.to_owned(),
    }
}

/// Judges a push as the real gateway does.
fn take(form: &HashMap<String, String>) -> Result<Delivered, &'static str> {
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("username") != USERNAME || field("password") != HEXLOWER.encode(&Sha1::digest(PASSWORD)) {
        return Err("401,Credentials Error");
    }
    if field("senderid") != SENDER {
        return Err("411,Sender ID not found");
    }
    let content = field("content");
    if field("key").is_empty() {
        return Err("415,Secure key is missing");
    }
    let signed = format!("{USERNAME}{SENDER}{}{SECURE_KEY}", content.trim());
    if field("key") != HEXLOWER.encode(&Sha512::digest(signed)) {
        return Err("416,Hash is not matching");
    }
    if !TEMPLATES.contains(&field("templateid")) {
        return Err("423,Template ID");
    }
    let number = field("mobileno");
    if number.len() != 10 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err("406,Invalid mobile number");
    }
    let text = match field("smsservicetype") {
        "otpmsg" | "singlemsg" => content.to_owned(),
        "unicodeotpmsg" | "unicodemsg" => from_references(content).ok_or("412,Content")?,
        _ => return Err("412,Service type"),
    };
    Ok(Delivered {
        number: number.to_owned(),
        text,
    })
}

/// Text from decimal references of UTF-16 units, as Unicode messages travel.
fn from_references(content: &str) -> Option<String> {
    let units = content
        .split_terminator(';')
        .map(|unit| unit.strip_prefix("&#")?.parse::<u16>().ok());
    String::from_utf16(&units.collect::<Option<Vec<u16>>>()?).ok()
}

fn write_down(messages: &PathBuf, delivered: &Delivered) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(delivered)?;
    line.push(b'\n');
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(messages)?
        .write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> HashMap<String, String> {
        let content = "&#49;&#50;&#3349;";
        let key = HEXLOWER.encode(&Sha512::digest(format!("{USERNAME}{SENDER}{content}{SECURE_KEY}")));
        let password = HEXLOWER.encode(&Sha1::digest(PASSWORD));
        [
            ("username", USERNAME),
            ("password", &password),
            ("senderid", SENDER),
            ("content", content),
            ("smsservicetype", "unicodeotpmsg"),
            ("mobileno", "9876543210"),
            ("key", &key),
            ("templateid", TEMPLATES[1]),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn delivers_unicode_as_it_was_meant() {
        assert_eq!(take(&good()).unwrap().text, "12ക");
    }

    #[test]
    fn refuses_what_the_real_one_refuses() {
        for (field, value, code) in [
            ("password", "the lab's password", "401"),
            ("key", "0", "416"),
            ("content", "&#49;", "416"),
            ("mobileno", "12345", "406"),
            ("templateid", "7", "423"),
            ("senderid", "OTHERS", "411"),
        ] {
            let mut form = good();
            form.insert(field.to_owned(), value.to_owned());
            assert!(take(&form).unwrap_err().starts_with(code), "{field}");
        }
    }
}

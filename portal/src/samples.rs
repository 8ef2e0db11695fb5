//! Every page with sample contents, as the tests render and the screenshots show them.

use std::time::Duration;

use kavadam_domain::{Language, Reason};

use crate::config::PortalConfig;
use crate::pages::{
    CodePage, ConnectingPage, DisconnectedPage, DocumentPage, ErrorPage, FailedPage, NumberPage, Page, ReturningPage,
    StatusPage, UsedUpPage,
};
use crate::render::{Frame, Renderer};

/// A page with sample contents.
pub struct Sample {
    /// Such as `code` or `status-slow`.
    pub name: &'static str,
    /// The language it is in.
    pub language: Language,
    /// The document.
    pub html: String,
}

/// A sample could not be rendered: a template and its page disagree.
#[derive(Debug, thiserror::Error)]
#[error("page {name} does not render")]
pub struct SampleError {
    name: &'static str,
    source: minijinja::Error,
}

/// Every face of every page in one language, in the order people meet them.
///
/// # Errors
/// If a template uses what its page does not have.
pub fn pages(config: &PortalConfig, language: Language) -> Result<Vec<Sample>, SampleError> {
    let mut book = Book {
        config,
        language,
        renderer: Renderer::new(),
        samples: Vec::new(),
        is_visit: true,
    };
    book.add::<NumberPage>(None)?;
    book.add::<CodePage>(None)?;
    book.add::<ConnectingPage>(None)?;
    book.add::<FailedPage>(None)?;
    book.add::<StatusPage>(None)?;
    book.add::<ReturningPage>(None)?;
    book.add::<UsedUpPage>(None)?;
    book.add::<DisconnectedPage>(None)?;
    book.add::<DocumentPage>(None)?;
    let say = |reason: Reason| Some(reason.message(language));
    book.add_named(
        "number-refused",
        &NumberPage::typed(true, "98765 4321", true, ""),
        say(Reason::InvalidNumber),
    )?;
    let typed = NumberPage::typed(false, "98765 43210", true, "ABCD-EFGH-JKLM");
    let refused = Reason::BadVoucher;
    book.add_named("number-voucher-refused", &typed.refused(refused), say(refused))?;
    for (name, page) in CodePage::samples(language) {
        if name == "code-again" {
            book.add_named("code-too-many", &page, say(Reason::TooMany(Duration::from_mins(8))))?;
            book.add_named("code-wrong", &page, say(Reason::WrongCode(3)))?;
        }
    }
    if let Some((_, page)) = UsedUpPage::samples(language).into_iter().next() {
        book.add_named("voucher-refused", &page, say(Reason::BadVoucher))?;
    }
    // They belong to no visit, and what a form sent cannot be asked for in another language.
    book.is_visit = false;
    book.add::<ErrorPage>(None)?;
    Ok(book.samples)
}

struct Book<'a> {
    config: &'a PortalConfig,
    language: Language,
    renderer: Renderer,
    samples: Vec<Sample>,
    is_visit: bool,
}

impl Book<'_> {
    fn add<P: Page>(&mut self, notice: Option<&str>) -> Result<(), SampleError> {
        for (name, page) in P::samples(self.language) {
            self.add_named(name, &page, notice.map(str::to_owned))?;
        }
        Ok(())
    }

    fn add_named<P: Page>(&mut self, name: &'static str, page: &P, notice: Option<String>) -> Result<(), SampleError> {
        let frame = Frame {
            language: self.language,
            // As long as a true one.
            v: self.is_visit.then(|| "A".repeat(124)),
            switch: Language::ALL
                .into_iter()
                .filter(|_| self.is_visit)
                .map(|to| (to, format!("/{name}?lang={}", to.tag())))
                .collect(),
            notice,
            refresh_href: Some(format!("/{name}")),
            still_href: Some(format!("/{name}?still=1")),
        };
        let rendered = self
            .renderer
            .render(page, frame, self.config)
            .map_err(|source| SampleError { name, source })?;
        self.samples.push(Sample {
            name,
            language: self.language,
            html: rendered.html,
        });
        Ok(())
    }
}

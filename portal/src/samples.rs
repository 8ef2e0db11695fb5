//! Every page with sample contents, as the tests render and the screenshots show them.

use kavadam_domain::Language;

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
    book.add::<ErrorPage>(None)?;
    let refusal = kavadam_domain::Reason::InvalidNumber.message(language);
    book.add_named("number-refused", &NumberPage {}, Some(refusal))?;
    Ok(book.samples)
}

struct Book<'a> {
    config: &'a PortalConfig,
    language: Language,
    renderer: Renderer,
    samples: Vec<Sample>,
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
            v: Some("A".repeat(124)),
            switch: Language::ALL
                .map(|to| (to, format!("/{name}?lang={}", to.tag())))
                .into(),
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

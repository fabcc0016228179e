//! The log: one line per decision on standard error, for people or for machines.

use std::io;

use clap::ValueEnum;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not in the syntax of EnvFilter.
    #[error("log level {level:?} cannot be read: {source}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// What is logged unless told otherwise: our decisions, and of the client and its transport only what went wrong.
const DEFAULT_DIRECTIVES: &str = "info,kube=warn,hyper=warn,tower=warn,rustls=warn,h2=warn";

/// Sets up the process' log. `level` is a level or more in the syntax of EnvFilter, for example `debug` or
/// `info,kube=debug`; it is laid over the defaults.
///
/// # Errors
/// Where the level cannot be read, or there is a log already.
pub fn install(format: LogFormat, level: &str) -> Result<(), LogError> {
    Ok(subscriber(format, filter(level)?, io::stderr).try_init()?)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let directives = if level.trim().is_empty() {
        DEFAULT_DIRECTIVES.to_owned()
    } else {
        format!("{DEFAULT_DIRECTIVES},{level}")
    };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|source| LogError::Level {
            level: level.to_owned(),
            source,
        })
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false);
    match format {
        LogFormat::Text => Box::new(lines.finish()),
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_span_list(false).finish()),
    }
}

/// How grave a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// Things go as they should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// A decision about a Microservice. What people search for are fields, so that a line can be found by each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The Microservice's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The generation of the spec that was decided on.
    pub generation: i64,
    /// The revision that it is about. None: none in particular.
    pub revision: Option<&'a str>,
    /// How grave it is.
    pub gravity: Gravity,
    /// CamelCase reason, as in the event that tells of it.
    pub reason: &'a str,
    /// What was decided and why, in a sentence.
    pub message: &'a str,
}

impl Decision<'_> {
    /// Writes it as one line.
    pub fn log(&self) {
        let Self {
            namespace,
            name,
            generation,
            revision,
            gravity,
            reason,
            message,
        } = *self;
        match gravity {
            Gravity::Normal => info!(namespace, name, generation, revision, reason, "{message}"),
            Gravity::Warning => warn!(namespace, name, generation, revision, reason, "{message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::{debug, subscriber::with_default};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes.
    fn written(format: LogFormat, level: &str, log: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        with_default(
            subscriber(format, filter(level).unwrap(), move || writer.clone()),
            log,
        );
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    const DECISION: Decision<'_> = Decision {
        namespace: "shop",
        name: "orders",
        generation: 4,
        revision: Some("orders-b"),
        gravity: Gravity::Warning,
        reason: "RolledBack",
        message: "crash loop in 1 of 3 pods",
    };

    #[test]
    fn a_decision_is_one_line_of_json_with_its_fields() {
        let lines = written(LogFormat::Json, "", || DECISION.log());
        assert_eq!(lines.len(), 1);
        let mut line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert!(line["timestamp"].take().is_string());
        assert_eq!(
            line,
            json!({
                "timestamp": null, "level": "WARN", "target": "microservice_operator::telemetry::logs",
                "namespace": "shop", "name": "orders", "generation": 4, "revision": "orders-b",
                "reason": "RolledBack", "message": "crash loop in 1 of 3 pods",
            })
        );
    }

    #[test]
    fn a_decision_about_no_revision_has_no_such_field() {
        let decision = Decision {
            revision: None,
            gravity: Gravity::Normal,
            ..DECISION
        };
        let lines = written(LogFormat::Json, "", || decision.log());
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&line["level"], line.get("revision")), (&json!("INFO"), None));
    }

    #[test]
    fn a_decision_is_one_line_of_text() {
        let lines = written(LogFormat::Text, "", || DECISION.log());
        let expected = " WARN microservice_operator::telemetry::logs: crash loop in 1 of 3 pods namespace=\"shop\" \
                        name=\"orders\" generation=4 revision=\"orders-b\" reason=\"RolledBack\"";
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(expected), "{}", lines[0]);
    }

    #[test]
    fn levels_are_laid_over_the_defaults() {
        let events = || {
            debug!("ours");
            info!("ours");
            info!(target: "kube_client::client", "theirs");
            warn!(target: "kube_client::client", "theirs");
            debug!(target: "hyper_util::client", "theirs");
        };
        let count = |level| written(LogFormat::Text, level, events).len();
        assert_eq!(count(""), 2);
        assert_eq!(count("debug"), 3);
        assert_eq!(count("kube=info"), 3);
        assert_eq!(count("warn"), 1);
        assert_eq!(count("debug,kube=info,hyper=debug"), 5);
        assert_eq!(count("off,kube=off"), 0);
    }

    #[test]
    fn a_level_that_cannot_be_read_is_named() {
        let error = filter("kube=loud").unwrap_err().to_string();
        assert!(
            error.starts_with("log level \"kube=loud\" cannot be read: "),
            "{error}"
        );
    }
}

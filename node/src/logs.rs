//! Lines for people, or JSON for programs that gather logs, on standard error.
//!
//! Every line of a node carries the node's number, and every line within a request the request's id, in whichever form.
//! A JSON line is one object: `node`, `timestamp`, `level`, `target`, `fields` (with `message`), and `spans`, the
//! outermost first; `spans[].request` is the id.
//!
//! The libraries below are quiet: what matters of openraft's and quinn's lines, a peer that falls silent, a new leader, a
//! disk that failed, is said once by the modules that use them. `QUARTET_LOG` adds to the usual filter and can make any
//! of them speak.

use std::fmt;
use std::io::IsTerminal;

use anyhow::{Context, Result};
use net::NodeId;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use live::attempt_log::Recorder;

/// What is logged when nobody asks for more or less: our own words, and of openraft that a disk or a state failed.
const USUAL: &str = "info,openraft=off,openraft::storage=error,openraft::core::sm=error,quinn=warn,quinn_proto=warn,\
                     quinn_udp=warn,rustls=warn,hyper=warn,hyper_util=warn,lapin=off,amq_protocol=off,symphonia=off,\
                     ureq=warn,ureq_proto=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Begins to log, as `node` where this process is one.
pub(crate) fn begin(format: LogFormat, node: Option<NodeId>) -> Result<()> {
    let more = std::env::var("QUARTET_LOG").unwrap_or_default();
    let filter = EnvFilter::builder().parse(format!("{USUAL},{more}")).with_context(|| {
        format!("QUARTET_LOG is {more:?}, which is no filter; write a level, or parts with their levels as in info,raft=debug")
    })?;
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => {
            let inner = tracing_subscriber::fmt::format().with_target(false).with_ansi(terminal);
            lines.with_ansi(terminal).event_format(Human { node, inner }).finish().with(Recorder).init();
        }
        LogFormat::Json => {
            let inner = tracing_subscriber::fmt::format().json().with_current_span(false);
            lines.json().event_format(Program { node, inner }).finish().with(Recorder).init();
            // What the standard library prints would be no JSON.
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        }
    }
    Ok(())
}

/// Puts the node's number before a line.
struct Human {
    node: Option<NodeId>,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(writer, "node {node} ")?;
        }
        self.inner.format_event(context, writer, event)
    }
}

/// Puts the node's number into an object.
struct Program {
    node: Option<NodeId>,
    inner: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for Program
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        match (self.node, line.strip_prefix('{')) {
            (Some(node), Some(rest)) => write!(writer, "{{\"node\":{node},{rest}"),
            _ => writer.write_str(&line),
        }
    }
}

//! Logging to standard error, as text or JSON.
//!
//! Every line of a node has the node's id, and every line within a request has the request's id, in both formats. A JSON
//! line is one object with `node`, `timestamp`, `level`, `target`, `fields` (with `message`), and `spans`, the outermost
//! first; `spans[].request` is the id of the request.
//!
//! The default filter turns off most lines of libraries. The modules that use openraft and quinn log the important events
//! (an unreachable peer, a new leader, a failed disk) once. `QUARTET_LOG` extends the default filter, so it can turn on
//! the lines of any library.

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

/// The default filter: the project's own lines, and openraft's errors about the disk and the state machine.
const DEFAULT_FILTER: &str = "info,openraft=off,openraft::storage=error,openraft::core::sm=error,quinn=warn,quinn_proto=warn,\
                              quinn_udp=warn,rustls=warn,hyper=warn,hyper_util=warn,lapin=off,amq_protocol=off,symphonia=off,\
                              ureq=warn,ureq_proto=warn";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text.
    Human,
    /// One JSON object per line.
    Json,
}

/// Installs the logger. `node` is the id of the node, or none for a process that is not a node.
pub(crate) fn init(format: LogFormat, node: Option<NodeId>) -> Result<()> {
    let more = std::env::var("QUARTET_LOG").unwrap_or_default();
    let filter = EnvFilter::builder().parse(format!("{DEFAULT_FILTER},{more}")).with_context(|| {
        format!("invalid QUARTET_LOG {more:?}: use a level, or modules with levels, for example info,raft=debug")
    })?;
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => {
            let inner = tracing_subscriber::fmt::format().with_target(false).with_ansi(terminal);
            lines.with_ansi(terminal).event_format(TextFormat { node, inner }).finish().with(Recorder).init();
        }
        LogFormat::Json => {
            let inner = tracing_subscriber::fmt::format().json().with_current_span(false);
            lines.json().event_format(JsonFormat { node, inner }).finish().with(Recorder).init();
            // The standard library would print a panic as plain text.
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        }
    }
    Ok(())
}

/// Puts the node's id before a line.
struct TextFormat {
    node: Option<NodeId>,
    inner: Format<Full>,
}

impl<S, N> FormatEvent<S, N> for TextFormat
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

/// Adds the node's id to a JSON object.
struct JsonFormat {
    node: Option<NodeId>,
    inner: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for JsonFormat
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

//! The form of an upload. Its fields may come in any order, and its file is written to the disk as it arrives.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart};
use axum::http::header;
use state::Priority;
use storage::blobs::{Blobs, Staged};
use utoipa::ToSchema;

use super::job_params::{Workers, formats_of, priority_of, workers_of};
use super::song_fields::TEXT_CHARACTERS;
use crate::files::body::UploadBody;
use crate::files::part_header::PartHeader;
use crate::http::error::ApiError;
use crate::text::sanitize;

/// The largest field except for the file, in bytes: the longest title in UTF-8.
const TEXT_BYTES: usize = 4 * TEXT_CHARACTERS;
/// Bytes that are gathered for one write to the disk.
const GATHERED: usize = 256 << 10;

/// The form of an upload, for the description only.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a form that is read field by field")]
pub(crate) struct UploadForm {
    /// The title, at most 200 characters. The default is the title in the file's tags, or the file's name without its
    /// extension.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// The model. The default is the node's configured model.
    model: Option<String>,
    /// The formats of the stems, separated by commas and at most one of each kind: `mp3:320`, `flac:16`, `flac:24`,
    /// `wav:int16`, `wav:int24`, `wav:float32`. The default is MP3 and 16-bit WAV.
    #[schema(example = "mp3:256,flac:24")]
    formats: Option<String>,
    /// The priority of the job: `high`, `normal` or `low`. The default is `normal`.
    #[schema(pattern = "^(high|normal|low)$")]
    priority: Option<String>,
    /// The workers: `cluster`, or `outside` for external workers. The default is configured in cluster.toml. Songs that
    /// no external worker takes are separated by the cluster.
    #[schema(pattern = "^(cluster|outside)$")]
    workers: Option<String>,
    /// The song: a file of one of the kinds in `limits.kinds` of `GET /cluster`.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// A received upload.
pub(super) struct Received {
    pub(super) title: Option<String>,
    pub(super) model: Option<String>,
    pub(super) formats: Vec<String>,
    /// Whether the form named formats.
    pub(super) named: bool,
    pub(super) priority: Priority,
    pub(super) workers: Option<Workers>,
    pub(super) file_name: Option<String>,
    pub(super) staged: Staged,
}

impl Received {
    /// A text of all fields except for the file, which differs between different forms.
    pub(super) fn fingerprint(&self) -> String {
        let Self { title, model, formats, named, priority, workers, file_name, staged: _ } = self;
        format!("{title:?} {model:?} {formats:?} {named} {priority} {workers:?} {file_name:?}")
    }
}

/// Reads the form. A refused form leaves no files.
pub(super) async fn receive(incoming: UploadBody, blobs: &Blobs) -> Result<Received, ApiError> {
    let read = match incoming.expect_room(blobs).await {
        Ok(()) => read(&incoming, blobs).await,
        Err(refused) => Err(refused),
    };
    if read.is_err() {
        incoming.drain().await;
    }
    read
}

async fn read(incoming: &UploadBody, blobs: &Blobs) -> Result<Received, ApiError> {
    let mut form = Multipart::from_request(incoming.request(), &()).await.map_err(|_| {
        ApiError::Malformed(
            "The body is not a form. Send multipart/form-data with the fields \"title\" and \"file\".".into(),
        )
    })?;
    let (mut title, mut model, mut formats, mut priority, mut file) = (None, None, None, None, None);
    let mut workers = None;
    while let Some(mut field) = form.next_field().await.map_err(|error| broken(incoming, &error))? {
        let disposition = field.headers().get(header::CONTENT_DISPOSITION);
        let named = disposition.map(|value| PartHeader::parse(value.as_bytes())).unwrap_or_default();
        match named.field.as_deref() {
            Some("title") => title = Some(title_in(incoming, &mut field).await?),
            Some("model") => model = Some(text_in(incoming, &mut field, "model").await?),
            Some("formats") => formats = Some(text_in(incoming, &mut field, "formats").await?),
            Some("priority") => priority = Some(text_in(incoming, &mut field, "priority").await?),
            Some("workers") => workers = Some(text_in(incoming, &mut field, "workers").await?),
            Some("file") if file.is_some() => {
                return Err(ApiError::Malformed("The form has two files. Send one song per request.".into()));
            }
            Some("file") => {
                file = Some((named.file_name, file_in(incoming, &mut field, blobs).await?));
            }
            // Unknown fields are ignored.
            _ => while field.chunk().await.map_err(|error| broken(incoming, &error))?.is_some() {},
        }
    }
    let Some((file_name, staged)) = file else {
        return Err(ApiError::NoFile);
    };
    if staged.is_empty() {
        // A browser sends an unnamed empty file if none was chosen.
        return Err(if file_name.is_none() { ApiError::NoFile } else { ApiError::EmptyFile });
    }
    let title = title.filter(|title| !title.is_empty());
    let model = model.filter(|model| !model.is_empty());
    let named = formats.as_deref().is_some_and(|formats| !formats.trim().is_empty());
    let formats = formats_of(formats.as_deref().unwrap_or_default())?;
    let priority = match priority.as_deref().map(str::trim) {
        None | Some("") => Priority::default(),
        Some(word) => priority_of(word)?,
    };
    let workers = match workers.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(word) => Some(workers_of(word)?),
    };
    Ok(Received { title, model, formats, named, priority, workers, file_name, staged })
}

async fn title_in(incoming: &UploadBody, field: &mut Field<'_>) -> Result<String, ApiError> {
    let title = sanitize(&text_in(incoming, field, "title").await?);
    if title.chars().count() > TEXT_CHARACTERS {
        return Err(ApiError::TitleTooLong(TEXT_CHARACTERS));
    }
    Ok(title)
}

/// The text of a short field.
async fn text_in(incoming: &UploadBody, field: &mut Field<'_>, name: &'static str) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(incoming, &error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > TEXT_BYTES {
            return Err(match name {
                "title" => ApiError::TitleTooLong(TEXT_CHARACTERS),
                _ => ApiError::Malformed(format!("The field \"{name}\" is too long. Use at most {TEXT_BYTES} bytes.")),
            });
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::Malformed(format!("The field \"{name}\" is not UTF-8 text.")))
}

async fn file_in(incoming: &UploadBody, field: &mut Field<'_>, blobs: &Blobs) -> Result<Staged, ApiError> {
    let mut staged = blobs.stage(0).await?;
    let mut gathered = Vec::with_capacity(GATHERED);
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(incoming, &error))? {
        if staged.len() + (gathered.len() + chunk.len()) as u64 > incoming.limit() {
            return Err(incoming.too_large());
        }
        gathered.extend_from_slice(&chunk);
        if gathered.len() >= GATHERED {
            staged.write(&gathered).await?;
            gathered.clear();
        }
    }
    if !gathered.is_empty() {
        staged.write(&gathered).await?;
    }
    Ok(staged)
}

/// The error of a form that cannot be read: that of the body, or else that of the parser.
fn broken(incoming: &UploadBody, error: &MultipartError) -> ApiError {
    let unread = || ApiError::Broken(error.body_text().trim_end_matches('.').to_lowercase());
    incoming.failure().unwrap_or_else(unread)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use axum::body::{Body, Bytes};
    use axum::extract::Request;
    use axum::http::StatusCode;
    use futures_util::{StreamExt, stream};
    use storage::blobs::Quota;
    use tempfile::TempDir;

    use super::*;
    use crate::api::credits::title_of;
    use crate::files::body::OVERHEAD_BYTES;

    const LIMIT: u64 = 5_000_000;

    fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, file_name, content) in fields {
            body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
            if let Some(file_name) = file_name {
                body.extend(format!("; filename=\"{file_name}\"").bytes());
            }
            body.extend(b"\r\n\r\n");
            body.extend(*content);
            body.extend(b"\r\n");
        }
        body.extend(b"--b--\r\n");
        body
    }

    fn request(body: impl Into<Body>) -> Request {
        Request::post("/songs/upload")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body.into())
            .unwrap()
    }

    async fn receive(folder: &TempDir, request: Request) -> Result<Received, ApiError> {
        let blobs = Blobs::open(folder.path(), Quota::default()).unwrap();
        super::receive(UploadBody::new(request, LIMIT), &blobs).await
    }

    /// The status and the code of the error. It must leave no files.
    async fn refused(request: Request) -> (StatusCode, &'static str) {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = receive(&folder, request).await else { panic!("the form was accepted") };
        for left in ["staging", "blobs"] {
            assert_eq!(std::fs::read_dir(folder.path().join(left)).unwrap().count(), 0, "{left} has files");
        }
        assert!(error.to_string().len() > 20);
        let about = error.code().about();
        (about.status, about.name)
    }

    #[tokio::test]
    async fn fields_may_come_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let body = form(&[
            ("file", Some("a.MP3"), b"music"),
            ("colour", None, b"blue"),
            ("priority", None, b"high"),
            ("workers", None, b" outside "),
            ("title", None, " Ne\nw ".as_bytes()),
        ]);
        let received = receive(&folder, request(body)).await.unwrap();
        assert_eq!(received.title.as_deref(), Some("Ne w"));
        assert_eq!(received.priority, Priority::High);
        assert_eq!(received.workers, Some(Workers::Outside));
        assert_eq!(received.file_name.as_deref(), Some("a.MP3"));
        assert_eq!(std::fs::read(received.staged.path()).unwrap(), b"music");
        let (_, length) = received.staged.commit().await.unwrap();
        assert_eq!(length, 5);

        let received = receive(&folder, request(form(&[("file", Some("a"), &vec![7; LIMIT as usize])]))).await.unwrap();
        assert_eq!(received.staged.len(), LIMIT);
        assert_eq!(received.priority, Priority::Normal);

        let received =
            receive(&folder, request(form(&[("file", Some("C:\\songs\\Blue.in.Green.flac"), b"x")]))).await.unwrap();
        assert_eq!(received.title, None);
        assert_eq!(title_of(received.file_name.as_deref()), "Blue.in.Green");
        for (file_name, title) in [
            ("a%22b.mp3", "a\"b"),
            ("a%0D%0Ab.mp3", "a b"),
            ("=?UTF-8?B?bmHDr3ZlLldBVg==?=", "naïve"),
            ("\u{200B}.flac", "Untitled"),
        ] {
            let received = receive(&folder, request(form(&[("file", Some(file_name), b"x")]))).await.unwrap();
            assert_eq!(title_of(received.file_name.as_deref()), title);
        }
    }

    #[tokio::test]
    async fn malformed_forms_are_refused_and_leave_no_files() {
        let large = vec![0; LIMIT as usize + 1];
        let long = "x".repeat(10_000);
        for (body, expected) in [
            (form(&[("title", None, b"t")]), (StatusCode::BAD_REQUEST, "no_file")),
            (form(&[("file", Some(""), b"")]), (StatusCode::BAD_REQUEST, "no_file")),
            (form(&[("file", Some("a.mp3"), b"")]), (StatusCode::UNPROCESSABLE_ENTITY, "empty_file")),
            (form(&[("file", Some("a.mp3"), &large)]), (StatusCode::PAYLOAD_TOO_LARGE, "too_large")),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("title", None, long.as_bytes())]),
                (StatusCode::UNPROCESSABLE_ENTITY, "title_too_long"),
            ),
            (
                form(&[("title", None, "ü".repeat(201).as_bytes()), ("file", Some("a.mp3"), b"x")]),
                (StatusCode::UNPROCESSABLE_ENTITY, "title_too_long"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("file", Some("b.mp3"), b"y")]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("title", None, &[0xff, 0xfe])]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("priority", None, b"now")]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("workers", None, b"mine")]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (form(&[("file", Some("a.mp3"), &[1; 5000])])[..3000].to_vec(), (StatusCode::BAD_REQUEST, "broken_upload")),
            (Vec::new(), (StatusCode::BAD_REQUEST, "broken_upload")),
        ] {
            assert_eq!(refused(request(body)).await, expected);
        }
        let no_form = Request::post("/songs/upload").body(Body::from("music")).unwrap();
        assert_eq!(refused(no_form).await, (StatusCode::BAD_REQUEST, "malformed"));
        let mut announced = request("");
        announced.headers_mut().insert(header::CONTENT_LENGTH, (LIMIT + OVERHEAD_BYTES + 1).into());
        assert_eq!(refused(announced).await, (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    }

    #[tokio::test]
    async fn broken_and_idle_connections_have_different_errors() {
        let beginning = Bytes::from(form(&[("file", Some("a.mp3"), &[1; 100])])[..100].to_vec());
        let broken = stream::iter([Ok(beginning.clone()), Err(std::io::Error::other("reset"))]);
        assert_eq!(refused(request(Body::from_stream(broken))).await.1, "broken_upload");

        tokio::time::pause();
        let resting = stream::iter([Ok::<_, std::io::Error>(beginning)]).chain(stream::pending());
        assert_eq!(refused(request(Body::from_stream(resting))).await, (StatusCode::REQUEST_TIMEOUT, "idle"));
    }
}

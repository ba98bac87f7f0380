"""What schemathesis cannot know when scripts/interface runs it."""

import schemathesis

# A body that is a file is sent as it is.
for kind in ("application/x-tar", "image/jpeg", "image/png", "image/webp", "image/gif"):
    schemathesis.serializer.alias(kind, "application/octet-stream")

# What stays, so that there is something to ask for to the end: the first so many of the tester's things, and the tester.
KEPT = {
    ("PATCH", "/users/{id}"): ("id", 1),
    ("DELETE", "/users/{id}"): ("id", 1),
    ("DELETE", "/users/{id}/sessions"): ("id", 1),
    ("DELETE", "/users/{id}/sessions/{session}"): ("session", 1),
    ("DELETE", "/users/{id}/tokens/{token}"): ("token", 1),
    ("DELETE", "/users/{id}/webhooks/{hook}"): ("hook", 1),
    ("DELETE", "/songs/{id}"): ("id", 2),
    ("DELETE", "/songs/{id}/links/{link}"): ("link", 1),
    ("DELETE", "/playlists/{id}"): ("id", 1),
}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Turns a request that would saw off the branch it sits on to the next number."""
    parameter, kept = KEPT.get((case.method.upper(), case.path), (None, 0))
    values = case.path_parameters or {}
    if str(values.get(parameter)) in map(str, range(1, kept + 1)):
        values[parameter] = kept + 1

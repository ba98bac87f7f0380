"""Settings for schemathesis that its configuration file cannot express. scripts/interface uses this module."""

import schemathesis

# Send bodies that are files unchanged.
for kind in ("application/x-tar", "image/jpeg", "image/png", "image/webp", "image/gif"):
    schemathesis.serializer.alias(kind, "application/octet-stream")

# Ids that must not be deleted, so that later requests find resources: parameter, and highest protected id.
PROTECTED = {
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
    """Redirects a deletion of a protected resource to the next id."""
    parameter, highest = PROTECTED.get((case.method.upper(), case.path), (None, 0))
    values = case.path_parameters or {}
    if str(values.get(parameter)) in map(str, range(1, highest + 1)):
        values[parameter] = highest + 1

//! The user of a player, and the capabilities of this server.

use super::answer::Element;
use super::failure::Failure;
use super::library::Look;

/// The supported extensions of OpenSubsonic, with their versions.
pub(super) fn extensions() -> Element {
    let extension = |name: &str| Element::new().text("name", name).numbers("versions", vec![1]);
    Element::new().many("openSubsonicExtensions", ["apiKeyAuthentication", "formPost"].map(extension).into())
}

fn name(look: Look<'_>) -> Result<(String, Option<String>), Failure> {
    let user = look.view.user(look.caller.known()?.id)?.ok_or(Failure::WrongSecret)?;
    Ok((user.name, user.email))
}

/// The user of the API key.
pub(super) fn token(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("tokenInfo", Element::new().text("username", name(look)?.0)))
}

/// The user and its roles.
pub(super) fn user(look: Look<'_>) -> Result<Element, Failure> {
    let (name, email) = name(look)?;
    if look.params.get("username").is_some_and(|asked| !asked.eq_ignore_ascii_case(&name)) {
        return Err(Failure::NotAllowed("Users can only request their own account."));
    }
    let user = Element::new().text("username", name).maybe("email", email).flag("scrobblingEnabled", true);
    let roles = [
        ("adminRole", look.caller.is_administrator()),
        ("settingsRole", false),
        ("downloadRole", true),
        ("uploadRole", false),
        ("playlistRole", true),
        ("coverArtRole", false),
        ("commentRole", false),
        ("podcastRole", false),
        ("streamRole", true),
        ("jukeboxRole", false),
        ("shareRole", false),
        ("videoConversionRole", false),
    ];
    let user = roles.into_iter().fold(user, |user, (role, has)| user.flag(role, has));
    Ok(Element::new().one("user", user.numbers("folder", vec![1])))
}

pub(super) fn avatar(_: Look<'_>) -> Result<Element, Failure> {
    Err(Failure::NotFound("Users have no avatars.".into()))
}

/// There are no scans: a song is in the library when its upload is complete.
pub(super) fn scan() -> Element {
    Element::new().one("scanStatus", Element::new().flag("scanning", false))
}

//! File names that are made from titles and that every common file system accepts.
//!
//! Linux and macOS accept almost any name of up to 255 bytes. Windows refuses some characters, removes dots and spaces
//! at the end, and reserves the names of devices with any extension. A name that starts with a dot is hidden on Unix.

use crate::text::{first_bytes, sanitize};
use unicode_segmentation::UnicodeSegmentation;

/// The longest name in bytes: ext4, XFS, Btrfs and tar's ustar count bytes. APFS and NTFS allow as many UTF-16 units,
/// which are never more than the bytes.
pub const LONGEST: usize = 255;

/// The name for a title without usable characters.
const UNTITLED: &str = "Untitled";

/// The name that `make` builds from a title. The title is shortened by whole graphemes until the name fits into
/// [`LONGEST`] bytes, so the text that `make` adds stays complete.
pub fn file_name(title: &str, make: impl Fn(&str) -> String) -> String {
    let title = allowed(&sanitize(title));
    let title = first_bytes(trimmed(&title), LONGEST);
    let mut title = if title.is_empty() { UNTITLED } else { title };
    loop {
        let name = portable(&make(title));
        if name.len() <= LONGEST {
            return name;
        }
        let Some((end, _)) = title.grapheme_indices(true).next_back() else {
            return first_bytes(&name, LONGEST).to_owned();
        };
        title = title[..end].trim_end();
    }
}

/// The name in a form that every system accepts. Its length is not limited.
pub fn portable(name: &str) -> String {
    let name = allowed(name);
    let name = trimmed(&name);
    if name.is_empty() {
        return UNTITLED.into();
    }
    if is_reserved(name) { format!("_{name}") } else { name.to_owned() }
}

/// The name with `_` for characters that Windows refuses or that change the direction of text.
fn allowed(name: &str) -> String {
    let refused = |character: char| {
        character.is_control()
            || matches!(character, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
            || matches!(character, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    name.chars().map(|character| if refused(character) { '_' } else { character }).collect()
}

fn trimmed(name: &str) -> &str {
    name.trim_matches(|character: char| character == '.' || character.is_whitespace())
}

/// Whether Windows reserves a name for a device: "Naming Files, Paths, and Namespaces" in its documentation, and
/// `ntpath.isreserved` of Python 3.13.
fn is_reserved(name: &str) -> bool {
    let device = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let port = device.strip_prefix("COM").or_else(|| device.strip_prefix("LPT"));
    matches!(device.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || port
            .is_some_and(|port| matches!(port, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stem(title: &str) -> String {
        file_name(title, |title| format!("{title} - drums.mp3"))
    }

    fn song(title: &str) -> String {
        file_name(title, |title| format!("{title}.mp3"))
    }

    #[test]
    fn long_titles_are_shortened_and_the_extension_stays() {
        assert_eq!(stem("So What"), "So What - drums.mp3");
        for (title, characters) in
            [("x".repeat(300), 243), ("ü".repeat(200), 121), ("音".repeat(200), 81), ("🎸".repeat(200), 60)]
        {
            let name = stem(&title);
            assert!(name.len() <= LONGEST && name.ends_with(" - drums.mp3"), "{name}");
            assert_eq!(name.chars().count(), characters + 12, "{name}");
        }
        // A family of 18 bytes and two joiners is one grapheme.
        let family = "👨\u{200D}👩\u{200D}👧";
        assert_eq!(song(&family.repeat(50)), format!("{}.mp3", family.repeat(13)));
        let accented = "e\u{301}";
        assert_eq!(song(&accented.repeat(200)), format!("{}.mp3", accented.repeat(83)));
        // Shortening leaves no space before the extension.
        assert_eq!(song(&format!("{} y", "x".repeat(250))), format!("{}.mp3", "x".repeat(250)));
        // If the added text alone is too long, the name is cut.
        assert_eq!(file_name("a", |title| format!("{title}{}", "y".repeat(300))).len(), LONGEST);
    }

    #[test]
    fn device_names_are_avoided() {
        for (title, name) in [
            ("NUL", "_NUL.mp3"),
            ("con", "_con.mp3"),
            ("Aux ", "_Aux.mp3"),
            ("prn.remix", "_prn.remix.mp3"),
            ("COM1", "_COM1.mp3"),
            ("lpt9", "_lpt9.mp3"),
            ("COM²", "_COM².mp3"),
            ("CONOUT$", "_CONOUT$.mp3"),
            ("COM10", "COM10.mp3"),
            ("COM0", "COM0.mp3"),
            ("Console", "Console.mp3"),
            ("NULL", "NULL.mp3"),
        ] {
            assert_eq!(song(title), name);
        }
        assert_eq!(stem("NUL"), "NUL - drums.mp3");
        assert_eq!(portable("nul"), "_nul");
        assert_eq!(file_name("aux", |title| title.to_owned()), "_aux");
    }

    #[test]
    fn characters_that_windows_refuses_are_replaced() {
        for (title, name) in [
            ("a<b>c:d\"e/f\\g|h?i*j", "a_b_c_d_e_f_g_h_i_j.mp3"),
            ("AC/DC\nLive", "AC_DC Live.mp3"),
            ("Wait...", "Wait.mp3"),
            ("...Baby One More Time", "Baby One More Time.mp3"),
            (" . ", "Untitled.mp3"),
            ("", "Untitled.mp3"),
            ("\u{200B}", "Untitled.mp3"),
            ("../../etc/passwd", "_.._etc_passwd.mp3"),
            ("song\u{202E}3pm.exe", "song_3pm.exe.mp3"),
            ("שלום", "שלום.mp3"),
        ] {
            assert_eq!(song(title), name);
        }
        assert_eq!(portable("a:b. "), "a_b");
    }
}

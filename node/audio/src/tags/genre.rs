//! Names of genres that tags store as numbers.
//!
//! ID3v1 numbers genres, and Winamp extended the list. ID3v2 writes such a number as "17" or "(17)", optionally
//! followed by a name that refines it: "(17)Krautrock". "RX" and "CR" mean remixes and covers, and "((" begins a name
//! with a bracket (ID3v2.3, section 4.2.1, TCON; ID3v2.4, section 4.2.3).

/// The genres of ID3v1 by number: 80 of the original list, then those of Winamp up to version 5.6.
const NAMES: &str = "\
    Blues|Classic Rock|Country|Dance|Disco|Funk|Grunge|Hip-Hop|Jazz|Metal|New Age|Oldies|Other|Pop|R&B|Rap|\
    Reggae|Rock|Techno|Industrial|Alternative|Ska|Death Metal|Pranks|Soundtrack|Euro-Techno|Ambient|Trip-Hop|\
    Vocal|Jazz+Funk|Fusion|Trance|Classical|Instrumental|Acid|House|Game|Sound Clip|Gospel|Noise|\
    Alternative Rock|Bass|Soul|Punk|Space|Meditative|Instrumental Pop|Instrumental Rock|Ethnic|Gothic|Darkwave|\
    Techno-Industrial|Electronic|Pop-Folk|Eurodance|Dream|Southern Rock|Comedy|Cult|Gangsta Rap|Top 40|\
    Christian Rap|Pop/Funk|Jungle|Native American|Cabaret|New Wave|Psychedelic|Rave|Showtunes|Trailer|Lo-Fi|\
    Tribal|Acid Punk|Acid Jazz|Polka|Retro|Musical|Rock & Roll|Hard Rock|Folk|Folk-Rock|National Folk|Swing|\
    Fast-Fusion|Bebop|Latin|Revival|Celtic|Bluegrass|Avantgarde|Gothic Rock|Progressive Rock|Psychedelic Rock|\
    Symphonic Rock|Slow Rock|Big Band|Chorus|Easy Listening|Acoustic|Humour|Speech|Chanson|Opera|Chamber Music|\
    Sonata|Symphony|Booty Bass|Primus|Porn Groove|Satire|Slow Jam|Club|Tango|Samba|Folklore|Ballad|Power Ballad|\
    Rhythmic Soul|Freestyle|Duet|Punk Rock|Drum Solo|A Cappella|Euro-House|Dance Hall|Goa|Drum & Bass|Club-House|\
    Hardcore|Terror|Indie|BritPop|Afro-Punk|Polsk Punk|Beat|Christian Gangsta Rap|Heavy Metal|Black Metal|\
    Crossover|Contemporary Christian|Christian Rock|Merengue|Salsa|Thrash Metal|Anime|JPop|Synthpop|Abstract|\
    Art Rock|Baroque|Bhangra|Big Beat|Breakbeat|Chillout|Downtempo|Dub|EBM|Eclectic|Electro|Electroclash|Emo|\
    Experimental|Garage|Global|IDM|Illbient|Industro-Goth|Jam Band|Krautrock|Leftfield|Lounge|Math Rock|\
    New Romantic|Nu-Breakz|Post-Punk|Post-Rock|Psytrance|Shoegaze|Space Rock|Trop Rock|World Music|Neoclassical|\
    Audiobook|Audio Theatre|Neue Deutsche Welle|Podcast|Indie Rock|G-Funk|Dubstep|Garage Rock|Psybient";

/// The name of an ID3v1 genre.
pub(super) fn named(number: usize) -> Option<&'static str> {
    NAMES.split('|').nth(number)
}

/// The names in a genre's text. A name that refines numbers comes before the names of these numbers.
pub(super) fn names(text: &str) -> Vec<String> {
    let mut rest = text.trim();
    let mut names = Vec::new();
    while let Some((code, behind)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
        let Some(genre) = coded(code) else { break };
        names.extend(genre.map(str::to_owned));
        rest = behind.trim_start();
    }
    let refined = match coded(rest) {
        Some(genre) => genre.unwrap_or_default(),
        None if rest.starts_with("((") => &rest[1..],
        None => rest,
    };
    if !refined.is_empty() {
        names.retain(|name| !name.eq_ignore_ascii_case(refined));
        names.insert(0, refined.to_owned());
    }
    names
}

/// The meaning of a code: `None` if the text is not a code, `Some(None)` if it is a number without a genre.
fn coded(code: &str) -> Option<Option<&'static str>> {
    match code {
        "RX" => Some(Some("Remix")),
        "CR" => Some(Some("Cover")),
        // A number fits into a byte; other numbers, such as decades, are names.
        _ if code.len() <= 3 && code.bytes().all(|digit| digit.is_ascii_digit()) => {
            code.parse::<u8>().ok().map(|number| named(usize::from(number)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_names() {
        for (text, wanted) in [
            ("17", &["Rock"] as &[&str]),
            ("(17)", &["Rock"]),
            ("(17)Rock", &["Rock"]),
            ("(17) rock", &["rock"]),
            ("(4)Eurodisco", &["Eurodisco", "Disco"]),
            ("(31)(39)", &["Trance", "Noise"]),
            ("(RX)", &["Remix"]),
            ("(CR)", &["Cover"]),
            ("CR", &["Cover"]),
            ("((literal", &["(literal"]),
            ("(4)((weird)", &["(weird)", "Disco"]),
            ("(open", &["(open"]),
            ("(Hard) Bop", &["(Hard) Bop"]),
            ("Rock; Pop", &["Rock; Pop"]),
            ("191", &["Psybient"]),
            ("192", &[]),
            ("(255)", &[]),
            ("(255)Polka", &["Polka"]),
            ("1980", &["1980"]),
            ("+17", &["+17"]),
            ("", &[]),
            ("()", &["()"]),
        ] {
            assert_eq!(names(text), wanted, "{text:?}");
        }
        assert_eq!(NAMES.split('|').count(), 192);
        assert_eq!(
            (named(8), named(79), named(191), named(192)),
            (Some("Jazz"), Some("Hard Rock"), Some("Psybient"), None)
        );
    }
}

use std::sync::LazyLock;

/// The prefixes of clause ids, in the order of the text files.
pub const PREFIXES: [&str; 12] =
    ["TRN", "EIO", "SIO", "CHAT", "PRES", "UNR", "ERR", "LIM", "REST", "NODE", "RDS", "EVT"];

/// Prefixes of the clauses that are upstream's, unless a clause says otherwise.
const OF_UPSTREAM: [&str; 4] = ["TRN", "EIO", "SIO", "EVT"];

const FILES: [(&str, &str); 12] = [
    ("01-transport.md", include_str!("../01-transport.md")),
    ("02-engine-io.md", include_str!("../02-engine-io.md")),
    ("03-socket-io.md", include_str!("../03-socket-io.md")),
    ("04-chat.md", include_str!("../04-chat.md")),
    ("05-presence.md", include_str!("../05-presence.md")),
    ("06-unread.md", include_str!("../06-unread.md")),
    ("07-errors.md", include_str!("../07-errors.md")),
    ("08-limits-and-closing.md", include_str!("../08-limits-and-closing.md")),
    ("09-rest.md", include_str!("../09-rest.md")),
    ("10-many-nodes.md", include_str!("../10-many-nodes.md")),
    ("11-redis.md", include_str!("../11-redis.md")),
    ("12-rooms.md", include_str!("../12-rooms.md")),
];

/// How binding a clause is, in the sense of RFC 2119. Ordered from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    May,
    Should,
    Must,
}

/// Whom a clause obliges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Server,
    Client,
}

/// Which servers a clause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Every server of the official texts: transport, Engine.IO, Socket.IO; and its rooms.
    Upstream,
    /// Servers of this text only.
    Throng,
}

impl Profile {
    /// As the text and command lines write it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Upstream => "upstream",
            Profile::Throng => "throng",
        }
    }

    fn named(name: &str) -> Option<Profile> {
        [Profile::Upstream, Profile::Throng].into_iter().find(|profile| profile.name() == name)
    }
}

/// One normative sentence of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// For example `CHAT-12`.
    pub id: &'static str,
    pub level: Level,
    pub party: Party,
    pub profile: Profile,
    /// File name within the spec folder.
    pub file: &'static str,
    /// Line of the clause in its file, from 1.
    pub line: usize,
    /// Heading that the clause stands under.
    pub section: &'static str,
    /// Markdown after the level, to the next clause or heading, tables and line breaks included.
    pub text: &'static str,
    /// Where the clause departs from the original application or from upstream, and why.
    pub departs: Option<&'static str>,
}

impl Clause {
    /// The rule in one line, without its departure and without tables.
    pub fn summary(&self) -> String {
        let rule = self.text.split("\n\n").next().unwrap_or(self.text);
        let rule = rule.split("Departs:").next().unwrap_or(rule);
        rule.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The prefix of the id: `CHAT` of `CHAT-12`.
    pub fn prefix(&self) -> &'static str {
        self.id.split('-').next().unwrap_or(self.id)
    }
}

static CLAUSES: LazyLock<Vec<Clause>> = LazyLock::new(|| {
    FILES
        .iter()
        .flat_map(|(file, text)| {
            parse(file, text)
                .unwrap_or_else(|fault| panic!("the tests of this crate pass: {fault}"))
        })
        .collect()
});

/// All clauses in the order of the text.
pub fn clauses() -> impl Iterator<Item = &'static Clause> {
    CLAUSES.iter()
}

/// The clause with this id.
pub fn clause(id: &str) -> Option<&'static Clause> {
    CLAUSES.iter().find(|clause| clause.id == id)
}

/// The text files: name and Markdown.
pub fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.into_iter()
}

/// Reads the clauses of one text file.
///
/// # Errors
/// A sentence with file and line, when a line begins like a clause but is not well-formed.
pub fn parse(file: &'static str, text: &'static str) -> Result<Vec<Clause>, String> {
    let mut found: Vec<Clause> = Vec::new();
    let mut section = "";
    let mut open = false;
    let mut begin = 0;
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let at = offset;
        offset += line.len();
        let heading = line.starts_with('#');
        let head = line.starts_with("**");
        if (heading || head) && open {
            close(&mut found, &text[begin..at]);
            open = false;
        }
        if heading {
            section = line.trim_start_matches('#').trim();
        }
        if head {
            let (clause, head_bytes) = parse_head(file, index + 1, line)
                .ok_or_else(|| format!("{file}:{}: no clause: {line}", index + 1))?;
            found.push(Clause { section, ..clause });
            begin = at + head_bytes;
            open = true;
        }
    }
    if open {
        close(&mut found, &text[begin..]);
    }
    Ok(found)
}

fn close(found: &mut [Clause], text: &'static str) {
    let last = found.last_mut().expect("a clause is open");
    last.text = text.trim();
    last.departs = last.text.split_once("Departs:").map(|(_, departs)| {
        let end = departs.find("\n\n").unwrap_or(departs.len());
        departs[..end].trim()
    });
}

/// `**ID** (LEVEL) `, after the level perhaps `, client` and `, throng`, and how many bytes that is.
fn parse_head(
    file: &'static str,
    line_number: usize,
    line: &'static str,
) -> Option<(Clause, usize)> {
    let (id, rest) = line.strip_prefix("**")?.split_once("** (")?;
    let (marks, rest) = rest.split_once(") ")?;
    let (prefix, number) = id.split_once('-')?;
    if !PREFIXES.contains(&prefix) || number.starts_with('0') || number.parse::<u16>().is_err() {
        return None;
    }
    let mut marks = marks.split(", ");
    let level = match marks.next()? {
        "MUST" => Level::Must,
        "SHOULD" => Level::Should,
        "MAY" => Level::May,
        _ => return None,
    };
    let mut party = Party::Server;
    let is_upstream = OF_UPSTREAM.contains(&prefix);
    let mut profile = if is_upstream { Profile::Upstream } else { Profile::Throng };
    for mark in marks {
        match mark {
            "client" => party = Party::Client,
            mark => profile = Profile::named(mark)?,
        }
    }
    let (line, head_bytes) = (line_number, line.len() - rest.len());
    let (section, text, departs) = ("", "", None);
    let clause = Clause { id, level, party, profile, file, line, section, text, departs };
    Some((clause, head_bytes))
}

//! Ways in which the reference server can be made wrong, one at a time.

/// Declares the defects with the clause that each breaks and what it does.
macro_rules! defects {
    ($($name:ident, $clause:literal, $text:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Defect { $($name),* }

        impl Defect {
            pub const ALL: &'static [Defect] = &[$(Defect::$name),*];

            pub fn name(self) -> &'static str {
                match self { $(Defect::$name => stringify!($name)),* }
            }

            /// The clause that a case must name to count as having killed this defect.
            pub fn clause(self) -> &'static str {
                match self { $(Defect::$name => $clause),* }
            }

            pub fn text(self) -> &'static str {
                match self { $(Defect::$name => $text),* }
            }
        }
    };
}

defects! {
    // The defects of the original application.
    GhostAfterDisconnect, "CHAT-80", "a disconnect leaves nothing: ghosts for ever";
    LostRosterUpdate, "PRES-20", "every second join is not told to the other members";
    LeakedToken, "PRES-2", "roster entries carry the user's token";
    TabCloseRemovesUser, "CHAT-71", "the second tab's leave removes the user";
    WrongUsersUnread, "UNR-11", "a session gets another user's unread numbers";
    StaleIdentity, "CHAT-10", "a new session inherits the identity of the last one that ended";
    PostDiscarded, "TRN-34", "POST is answered ok and its packets are thrown away";
    AnonymousRefused, "TRN-5", "a handshake with a bad token is refused with 403";
    OldIdentityWins, "CHAT-6", "another user's valid token in an event is ignored";
    InvalidTokenActs, "CHAT-5", "an unknown token in an event acts as the session's identity";
    NonStringToken, "CHAT-5", "the token 1 is somebody's";
    TokenlessRefused, "CHAT-4", "an event without a token is refused after a reconnect";
    EmailToAll, "CHAT-39", "everybody gets the author's e-mail";
    NoMembershipCheck, "CHAT-51", "anybody may post to any room";
    SilentErrors, "ERR-2", "refusals without an ack are not answered";
    HistoryOldestFirst, "REST-42", "page 1 of the history is the oldest";
    SidNotChecked, "TRN-13", "an unknown sid gets an answer";
    GreetingConnect, "SIO-48", "an event `connect` greets every session";
    CountsReaders, "UNR-4", "messages are unread for those who read them";
    AuthorGetsUnread, "UNR-12", "the author gets an unread number for his own message";
    ZeroDropped, "CHAT-43", "the text 0 counts as empty";
    EscapesText, "CHAT-41", "HTML in a text is escaped";
    LegacyKeepsOldRoom, "CHAT-28", "an Engine.IO 3 session stays in its previous room";
    EmptyRosterArray, "PRES-3", "an empty roster is []";
    SecondTabCounted, "PRES-12", "online counts sessions, not users";
    DuplicateEmail, "REST-17", "a second registration of an e-mail succeeds";
    TrustsImageNames, "REST-53", "an upload is judged by its file name";

    // Subtle ones.
    SwappedForOne, "CHAT-61", "two messages change places for one member only";
    DroppedForOne, "CHAT-61", "every thirteenth message does not reach one member";
    DoubledForOne, "CHAT-61", "every thirteenth message reaches one member twice";
    DuplicateAfterUpgrade, "EIO-74", "what a poll delivered last is sent again after the upgrade";
    LeaveLostInBurst, "PRES-21", "a leave is lost when another happened within 1 ms before";
    UnreadOffByOne, "UNR-5", "leaving fixes the mark one message too early";
    RosterShortAbove100, "PRES-4", "the roster lacks one entry above 100 members";
    PongWithoutPayload, "EIO-70", "the probe's pong lacks its payload";
    DeliveryAfterLeave, "CHAT-36", "a message of the room comes 1 ms after roomout";
    AckTwice, "SIO-40", "every seventh ack is sent twice";
    AckAndErrorEvent, "ERR-1", "a refusal is acked and told as an event too";
    RefusalTakesSeq, "CHAT-53", "a refused message takes a seq";
    ByteLengths, "EIO-31", "payload lengths of Engine.IO 3 count bytes";
    SilenceForgiven, "EIO-53", "a peer that never answers a ping is kept";
    SilenceForgivenEio3, "EIO-62", "a silent Engine.IO 3 peer is kept";
    PingAtOnce, "EIO-50", "the first ping comes at once";
    WritesDuringProbe, "EIO-73", "packets go to the new WebSocket before the upgrade packet";
    LostInUpgrade, "EIO-74", "what was queued at the upgrade is lost";
    EverybodyHears, "CHAT-52", "messages reach every session of the server";
    RepeatedJoinTold, "PRES-22", "a repeated join is broadcast";
    CookieGivesIdentity, "CHAT-14", "the cookie of REST gives a session its identity";
    FaultHitsNeighbour, "CHAT-84", "a malformed packet closes another session too";
    BinaryDelivered, "SIO-55", "a binary event is taken for a plain one";
    VersionFalls, "PRES-14", "the roster's version starts again now and then";
    DeltaWithoutLeft, "PRES-32", "presence events forget who left";
    LogoutKeepsSessions, "CHAT-11", "logout does not reach live sessions";
    ReplayOnJoin, "CHAT-69", "a join replays the last message";
    MalformedForgiven, "SIO-5", "a malformed Socket.IO packet is ignored";
    SecondPollForgiven, "TRN-36", "two polls at once are both served";
    InvisibleAfterRejoin, "CHAT-25", "a session that leaves and joins again gets no messages";
    MaskNotRequired, "TRN-53", "unmasked client frames are accepted";
    PayloadUnlimited, "LIM-1", "messages of any size are accepted";
    ForgetsReset, "EIO-96", "a TCP reset leaves the session open";
    WrongAckId, "SIO-40", "the ack of a large id carries another id";
    UnreadDoubled, "UNR-15", "a second tab's leave counts what the first has read";

    // Two nodes that do not quite work as one.
    CountedPerNode, "NODE-3", "a user with sessions on two nodes counts twice";
    RemoteOrderSwapped, "NODE-4", "two messages change places on their way to another node";
    RemoteMessageLost, "NODE-5", "every seventh message does not reach the other nodes";
    RemoteUnreadLost, "NODE-6", "sessions on other nodes get no unread numbers";
    RemoteLogoutLost, "NODE-7", "a logout does not reach the sessions on other nodes";
    RemoteLeaveLost, "NODE-10", "a leave is not told on the other nodes";
    DeadNodeHaunts, "NODE-20", "the users of a node that died stay in the rosters";
}

impl Defect {
    pub fn parse(name: &str) -> Option<Defect> {
        Defect::ALL.iter().copied().find(|defect| defect.name().eq_ignore_ascii_case(name))
    }
}

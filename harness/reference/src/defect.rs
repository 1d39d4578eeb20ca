//! The defects of the reference server, at most one of which is switched on.

/// Declares the defects, each with the clause that it violates and what it does.
macro_rules! defects {
    ($($name:ident, $clause:literal $(+ $more:literal)*, $text:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Defect { $($name),* }

        impl Defect {
            pub const ALL: &'static [Defect] = &[$(Defect::$name),*];

            pub fn name(self) -> &'static str {
                match self { $(Defect::$name => stringify!($name)),* }
            }

            /// The clauses that it violates.
            pub fn clauses(self) -> &'static [&'static str] {
                match self { $(Defect::$name => &[$clause $(, $more)*]),* }
            }

            pub fn text(self) -> &'static str {
                match self { $(Defect::$name => $text),* }
            }
        }
    };
}

defects! {
    // The defects of the original application.
    GhostAfterDisconnect, "CHAT-80", "users stay in the rooms after a disconnect";
    LostRosterUpdate, "PRES-20", "every second join is not sent to the other members";
    LeakedToken, "PRES-2", "roster entries contain the user's token";
    TabCloseRemovesUser, "CHAT-71", "the leave of one session removes the user although another stays";
    WrongUsersUnread, "UNR-11", "a session gets another user's unread numbers";
    StaleIdentity, "CHAT-10", "a new session inherits the identity of the last session that ended";
    PostDiscarded, "TRN-34", "POST is answered ok and its packets are dropped";
    AnonymousRefused, "TRN-5", "a handshake with a bad token is refused with 403";
    OldIdentityWins, "CHAT-6", "another user's valid token in an event is ignored";
    InvalidTokenActs, "CHAT-5", "an event with an unknown token uses the session's identity";
    NonStringToken, "CHAT-5", "the token 1 is accepted";
    TokenlessRefused, "CHAT-4", "an event without a token is refused";
    EmailToAll, "CHAT-39", "all members get the author's e-mail";
    NoMembershipCheck, "CHAT-51", "any user may send messages to any room";
    SilentErrors, "ERR-2", "a refused event without ack id is not answered";
    HistoryOldestFirst, "REST-42", "page 1 of the history is the oldest";
    SidNotChecked, "TRN-13", "an unknown sid is answered";
    GreetingConnect, "SIO-48", "every session gets an event `connect`";
    CountsReaders, "UNR-4", "messages are unread for users who are in the room";
    AuthorGetsUnread, "UNR-12", "authors get an unread number for their own messages";
    ZeroDropped, "CHAT-43", "the text 0 counts as empty";
    EscapesText, "CHAT-41", "HTML in a text is escaped";
    LegacyKeepsOldRoom, "CHAT-28", "an Engine.IO 3 session stays in its previous room";
    EmptyRosterArray, "PRES-3", "an empty roster is []";
    SecondTabCounted, "PRES-12", "online counts sessions, not users";
    WaitsBeyondRetryAfter, "REST-27", "logins are refused for longer than Retry-After says";
    GuessesLockAll, "LIM-86", "wrong passwords for one name put off the logins of all";
    DuplicateEmail, "REST-17", "a second registration of an e-mail succeeds";
    UploadBeforeAsked, "REST-59", "an upload is read before it is asked whose it is";
    SlowUploadsKept, "LIM-90", "an upload may take as long as it likes";
    UploadsInTurn, "LIM-90", "sixteen uploads are received at once, and others wait for them";
    TrustsImageNames, "REST-53", "an upload is accepted by its file name";

    // Rare or small defects.
    SwappedForOne, "CHAT-61", "two messages are swapped for one member only";
    DroppedForOne, "CHAT-61", "every thirteenth message is not sent to one member";
    DoubledForOne, "CHAT-61", "every thirteenth message is sent to one member twice";
    DuplicateAfterUpgrade, "EIO-74", "the last packet of the last poll is sent again after the upgrade";
    LeaveLostInBurst, "PRES-21", "a leave is lost when another one happened less than 1 ms before";
    UnreadOffByOne, "UNR-5", "a leave sets the read mark one message too early";
    RosterShortAbove100, "PRES-4", "the roster lacks one entry above 100 users";
    PongWithoutPayload, "EIO-70", "the probe's pong lacks its payload";
    DeliveryAfterLeave, "CHAT-36", "a message of the room is sent 1 ms after roomout";
    AckTwice, "SIO-40", "every seventh ack is sent twice";
    AckAndErrorEvent, "ERR-1", "a refusal is sent as ack and as event";
    RefusalTakesSeq, "CHAT-53", "a refused message uses a seq";
    ByteLengths, "EIO-31", "payload lengths of Engine.IO 3 count bytes";
    SilenceAllowed, "EIO-53", "a peer that never answers a ping is not closed";
    SilenceAllowedEio3, "EIO-62", "a silent Engine.IO 3 peer is not closed";
    PingAtOnce, "EIO-50", "the first ping is sent immediately";
    WritesDuringProbe, "EIO-73", "packets are sent on the new WebSocket before the upgrade packet";
    LostInUpgrade, "EIO-74", "packets queued at the upgrade are lost";
    DeliveredToAll, "CHAT-52", "messages are sent to every session of the server";
    RepeatedJoinBroadcast, "PRES-22", "a repeated join is broadcast";
    CookieGivesIdentity, "CHAT-14", "the cookie of the HTTP API gives a session its identity";
    FaultClosesAnother, "CHAT-84", "a malformed packet closes another session too";
    BinaryDelivered, "SIO-55", "a binary event is handled as a plain one";
    VersionFalls, "PRES-14", "the roster's version restarts now and then";
    DeltaWithoutLeft, "PRES-32", "presence events lack the users who left";
    LogoutKeepsSessions, "CHAT-11", "a logout does not affect live sessions";
    ReplayOnJoin, "CHAT-69", "a join sends the last message again";
    MalformedIgnored, "SIO-5", "a malformed Socket.IO packet is ignored";
    SecondPollAnswered, "TRN-36", "two concurrent polls are both answered";
    InvisibleAfterRejoin, "CHAT-25", "a session that leaves and joins again gets no messages";
    MaskNotRequired, "TRN-53", "unmasked client frames are accepted";
    EarlyAnswerCut, "TRN-110", "a connection is closed behind an early answer with bytes unread";
    BodyBeforeRefusal, "TRN-111", "a refusal waits for the body of its request";
    LaterHeadsUnlimited, "LIM-8", "only the first head of a connection has a bound";
    PayloadUnlimited, "LIM-1", "messages of any size are accepted";
    ForgetsReset, "EIO-96", "a TCP reset leaves the session open";
    SubprotocolDropped, "TRN-100", "no subprotocol is agreed on";
    FieldsJudgedFirst, "TRN-52", "a missing WebSocket key decides before the origin and the version";
    ForwardsBelieved, "TRN-80", "X-Forwarded-Host of anyone counts as the host";
    LoginFromAnywhere, "REST-26", "pages of any origin may log in, with any content type";
    MarkupInImages, "CHAT-46", "the path of an image may hold markup";
    EncodedImagePaths, "CHAT-46", "the path of an image may hold percent-encoded characters";
    AnyAvatarPath, "REST-25", "any path below /avatars/ is accepted as an avatar";
    MarkupInNames, "REST-18", "a user's name is the part of the e-mail as it is";
    WrongAckId, "SIO-40", "the ack of a large id has another id";
    UnreadDoubled, "UNR-15", "a second session's leave counts messages that the first has read";
    RepeatStoredAgain, "CHAT-91", "a cid that was seen before is ignored";
    RepeatSentAgain, "CHAT-91", "a repeated message is sent to the members once more";
    CidOfAnyUser, "CHAT-92", "the cid of another user counts as one's own";
    CidOfAnyRoom, "CHAT-92", "a cid used in one room is used in all";
    CidPerSession, "CHAT-92", "each session has cids of its own";
    CidUnchecked, "CHAT-90", "any JSON is accepted as a cid";
    RefusalUsesCid, "CHAT-94", "a refused message uses up its cid";
    CidInHistoryOfAll, "REST-48", "the history shows the cids of all users to everybody";

    // Defects that others notice while the server is abused.
    UnreadAnswersKept, "LIM-81", "what a client does not read is kept without a bound";
    RefusalHoldsAll, "LIM-81", "each refused event keeps every session waiting for 2 ms";
    UnfinishedHeadSpins, "LIM-82", "a request head that is not finished is looked at all the time";
    BodyHoldsAll, "LIM-82", "while a body is received, every session waits";
    AnonymousUnlimited, "LIM-82", "a client without a user may begin a message of any size";
    CrowdLosesMessages, "LIM-83", "with more than 30 sessions one member of a room loses messages";
    LoginHoldsAll, "LIM-83", "each wrong password keeps every session waiting for 50 ms";
    TooLargeClosesAnother, "LIM-83", "a message too big closes another session too";

    // A capability that is gone: what needs it cannot be judged.
    RegistrationGone, "REST-15", "POST /api/register is answered with 404";
    UpgradeNotOffered, "EIO-4", "the open packet offers no upgrade";
    OldProtocolRefused, "TRN-17", "Engine.IO 3 is refused as an unknown version";
    PollingRefused, "TRN-11", "polling is refused as an unknown transport";

    // Defects between two nodes.
    CountedPerNode, "NODE-3", "a user with sessions on two nodes counts twice";
    RemoteOrderSwapped, "NODE-4", "two messages are swapped on their way to another node";
    RemoteMessageLost, "NODE-5", "every seventh message is not sent to the other nodes";
    RemoteUnreadLost, "NODE-6", "sessions on other nodes get no unread numbers";
    RemoteLogoutLost, "NODE-7", "a logout does not affect the sessions on other nodes";
    RemoteLeaveLost, "NODE-10", "a leave is not sent to the other nodes";
    CidPerNode, "NODE-14", "each node has cids of its own";
    DeadNodeStays, "NODE-20", "the users of a dead node stay in the rosters";
}

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
    GhostAfterDisconnect, "CHAT-80" + "PRES-4", "users stay in the rooms after a disconnect";
    LostRosterUpdate, "PRES-20", "every second join is not sent to the other members";
    LeakedToken, "PRES-2" + "CHAT-9" + "REST-23", "roster entries contain the user's token";
    TabCloseRemovesUser, "CHAT-71" + "CHAT-72", "the leave of one session removes the user although another stays";
    WrongUsersUnread, "UNR-11", "a session gets another user's unread numbers";
    StaleIdentity, "CHAT-10", "a new session inherits the identity of the last session that ended";
    PostDiscarded, "TRN-34", "POST is answered ok and its packets are dropped";
    AnonymousRefused, "TRN-5" + "CHAT-1", "a handshake with a bad token is refused with 403";
    OldIdentityWins, "CHAT-6", "another user's valid token in an event is ignored";
    InvalidTokenActs, "CHAT-5", "an event with an unknown token uses the session's identity";
    NonStringToken, "CHAT-5", "the token 1 is accepted";
    TokenlessRefused, "CHAT-4", "an event without a token is refused";
    EmailToAll, "CHAT-39" + "CHAT-9", "all members get the author's e-mail";
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
    DuplicateEmail, "REST-17" + "REST-16", "a second registration of an e-mail succeeds";
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
    RosterShortAbove100, "PRES-4" + "PRES-53", "the roster lacks one entry above 100 users";
    PongWithoutPayload, "EIO-70", "the probe's pong lacks its payload";
    DeliveryAfterLeave, "CHAT-36", "a message of the room is sent 1 ms after roomout";
    AckTwice, "SIO-40", "every seventh ack is sent twice";
    AckAndErrorEvent, "ERR-1", "a refusal is sent as ack and as event";
    RefusalTakesSeq, "CHAT-53", "a refused message uses a seq";
    ByteLengths, "EIO-31", "payload lengths of Engine.IO 3 count bytes";
    SilenceAllowed, "EIO-53" + "CHAT-82" + "LIM-4", "a peer that never answers a ping is not closed";
    SilenceAllowedEio3, "EIO-62" + "LIM-3", "a silent Engine.IO 3 peer is not closed";
    PingAtOnce, "EIO-50" + "LIM-3", "the first ping is sent immediately";
    WritesDuringProbe, "EIO-73", "packets are sent on the new WebSocket before the upgrade packet";
    LostInUpgrade, "EIO-74", "packets queued at the upgrade are lost";
    DeliveredToAll, "CHAT-52", "messages are sent to every session of the server";
    RepeatedJoinBroadcast, "PRES-22" + "CHAT-26", "a repeated join is broadcast";
    CookieGivesIdentity, "CHAT-14", "the cookie of the HTTP API gives a session its identity";
    FaultClosesAnother, "CHAT-84" + "LIM-26", "a malformed packet closes another session too";
    BinaryDelivered, "SIO-55", "a binary event is handled as a plain one";
    VersionFalls, "PRES-14", "the roster's version restarts now and then";
    DeltaWithoutLeft, "PRES-32", "presence events lack the users who left";
    LogoutKeepsSessions, "CHAT-11", "a logout does not affect live sessions";
    ReplayOnJoin, "CHAT-69", "a join sends the last message again";
    MalformedIgnored, "SIO-5" + "SIO-70" + "SIO-2" + "SIO-6" + "SIO-7" + "SIO-8" + "SIO-9" + "SIO-11", "a malformed Socket.IO packet is ignored";
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
    WrongAckId, "SIO-40" + "CHAT-103", "the ack of a large id has another id";
    UnreadDoubled, "UNR-15", "a second session's leave counts messages that the first has read";
    RepeatStoredAgain, "CHAT-91" + "CHAT-93", "a cid that was seen before is ignored";
    RepeatSentAgain, "CHAT-91", "a repeated message is sent to the members once more";
    CidOfAnyUser, "CHAT-92", "the cid of another user counts as one's own";
    CidOfAnyRoom, "CHAT-92", "a cid used in one room is used in all";
    CidPerSession, "CHAT-92", "each session has cids of its own";
    CidUnchecked, "CHAT-90", "any JSON is accepted as a cid";
    RefusalUsesCid, "CHAT-94", "a refused message uses up its cid";
    CidInHistoryOfAll, "REST-48", "the history shows the cids of all users to everybody";

    // Defects that others notice while the server is abused.
    UnreadAnswersKept, "LIM-81" + "LIM-80", "what a client does not read is kept without a bound";
    RefusalHoldsAll, "LIM-81" + "LIM-80", "each refused event keeps every session waiting for 2 ms";
    UnfinishedHeadSpins, "LIM-82" + "LIM-80", "a request head that is not finished is looked at all the time";
    BodyHoldsAll, "LIM-82" + "LIM-80", "while a body is received, every session waits";
    AnonymousUnlimited, "LIM-82" + "LIM-80", "a client without a user may begin a message of any size";
    CrowdLosesMessages, "LIM-83" + "LIM-80", "with more than 30 sessions one member of a room loses messages";
    LoginHoldsAll, "LIM-83" + "LIM-80", "each wrong password keeps every session waiting for 50 ms";
    TooLargeClosesAnother, "LIM-83" + "LIM-80", "a message too big closes another session too";

    // Transports.
    WsPathGone, "TRN-1", "the endpoint answers at /socket.io/ only";
    SlashNeeded, "TRN-2", "an endpoint path without its last slash is not found";
    UnknownParamRefused, "TRN-3", "a request with a query parameter that the text does not name is refused";
    TimestampMatters, "TRN-4", "a value of `t` that a session has shown before is refused";
    SessionBeforeOrigin, "TRN-10", "the sid is checked before the transport and the origin";
    RefusedEndsSession, "TRN-20", "a request on the wrong transport ends the session";
    VersionAlwaysChecked, "TRN-21", "EIO is checked on later requests of a session too";
    OtherMethodEndsSession, "TRN-22", "a method that is not known ends the session";
    PollAnsweredAtOnce, "TRN-31", "a poll with nothing to send is answered at once";
    PostReversed, "TRN-35" + "EIO-40" + "CHAT-62", "the packets of one POST are handled from the last to the first";
    PostLate, "TRN-35" + "EIO-75", "the packets of a POST take effect 150 ms after its answer";
    SecondPostAccepted, "TRN-37", "two concurrent POSTs are both handled";
    FaultyPostActs, "TRN-41" + "TRN-40" + "EIO-36" + "EIO-37", "what a faulty POST body holds is dropped and answered `ok`";
    PacketsBehindFault, "TRN-41", "valid packets behind a fault in a POST body take effect";
    TypeDecides, "TRN-42", "an Engine.IO 4 body of type application/octet-stream is malformed";
    PollAfterUpgradeEnds, "TRN-45", "a poll after the upgrade ends the session";
    PipelinedLost, "TRN-46", "a second request in one packet is lost";
    KeyNotChecked, "TRN-52", "any Sec-WebSocket-Key and version are accepted";
    ServerMasks, "TRN-53", "frames of the server are masked";
    FragmentsRefused, "TRN-56" + "EIO-13" + "LIM-2" + "LIM-29", "a message in fragments closes the connection";
    WsPongEmpty, "TRN-57", "the pong of a WebSocket ping has no data";
    WsPingIsLife, "TRN-57" + "EIO-53" + "EIO-62", "a WebSocket ping counts as a sign of life";
    NullOriginAccepted, "TRN-64" + "TRN-60", "the origin `null` is accepted";
    JsonpNewlinesKept, "TRN-72", "a backslash and an n in a JSONP body stay as they are";
    JsonpIndexEchoed, "TRN-73", "the index of JSONP is answered as it is";
    HeadsKept, "LIM-5", "a request head may take as long as it likes";
    PayloadOneLess, "LIM-1", "a message of exactly the limit is refused";
    CloseLeavesTcpOpen, "LIM-58" + "TRN-58", "the TCP connection stays open behind a close frame";

    // Engine.IO.
    SequentialSids, "EIO-3", "sids are counted up";
    SocketIdIsSid, "EIO-6" + "SIO-14", "the socket id of Engine.IO 4 is its sid";
    EngineMalformedIgnored, "EIO-11" + "EIO-12" + "EIO-16" + "LIM-45", "a malformed Engine.IO packet is ignored";
    TwoInOneMessage, "EIO-13", "packets that wait for a WebSocket are sent in one message";
    OpenFromClientCloses, "EIO-17", "a noop of the client closes its session";
    OctetsAlways, "EIO-34", "every poll of Engine.IO 3 is answered with a binary payload";
    PingEarly, "EIO-51", "later pings come after half the interval";
    PollingNeverTimesOut, "EIO-54" + "EIO-53", "a polling session is not closed for silence";
    UnaskedPongCloses, "EIO-55", "an unsolicited pong closes the session";
    ClientPingTaken, "EIO-56", "a ping of an Engine.IO 4 client is answered";
    TimesOutEarly, "EIO-57" + "EIO-5" + "LIM-4", "a pong must come within a quarter of the timeout";
    Eio3PongEmpty, "EIO-60" + "EIO-65", "the pong of Engine.IO 3 has no data";
    Eio3ServerPings, "EIO-61", "the server sends pings on Engine.IO 3";
    OnlyPingsAreLife, "EIO-63", "on Engine.IO 3 only pings count as a sign of life";
    Eio3PongTaken, "EIO-64", "a pong of an Engine.IO 3 client is ignored";
    HeldPollKept, "EIO-71", "the probe leaves a held poll as it is";
    PollHeldInUpgrade, "EIO-72", "a poll during the upgrade is held";
    NoProbeEndsSession, "EIO-76", "a WebSocket without a probe ends the session";
    GivenUpEndsSession, "EIO-77" + "EIO-78", "an upgrade that is given up ends the session";
    UpgradedOnce, "EIO-82", "a session whose upgrade was given up cannot be upgraded any more";
    SecondWebsocketEnds, "EIO-79", "a further WebSocket of a session ends it";
    UpgradeRestartsPing, "EIO-80", "the ping interval starts again with the upgrade";
    PostsLostInUpgrade, "EIO-81" + "EIO-75", "a POST during the upgrade is answered and dropped";
    ClosedSidAnswered, "EIO-93" + "EIO-95" + "EIO-90" + "TRN-13", "the sid of a session that ended is answered with a noop";

    BadBase64Ignored, "EIO-38", "packets with bad base64 are ignored";
    HeldPollCut, "EIO-92", "the end of a session cuts a held poll instead of answering it";

    // Socket.IO.
    ConnectInNextPoll, "SIO-23", "on Engine.IO 3 the CONNECT of a polling session comes with its second poll";
    ElsewhereWaits, "SIO-38", "a binary event in a namespace that is not connected is judged once its attachments are there";
    NamespaceQueryKept, "SIO-4" + "SIO-36", "a query behind a namespace closes the session";
    DepthLimited, "SIO-10", "JSON more than 16 levels deep is malformed";
    ValuesLimited, "SIO-10", "JSON with more than 1000 values is malformed";
    AckIdsLimited, "SIO-11", "an ack id above 4294967295 is malformed";
    EventBeforeConnectIgnored, "SIO-17", "an event before CONNECT is ignored";
    EventBeforeConnectActs, "SIO-17", "an event before CONNECT acts";
    ConnectTokenIgnored, "SIO-18" + "CHAT-2", "the token of a CONNECT is ignored";
    BadConnectTokenRefused, "SIO-19", "a CONNECT with an unknown token is refused";
    SecondConnectNewId, "SIO-20", "a second CONNECT gets another socket id";
    SecondConnectLeaves, "SIO-20", "a second CONNECT ends the memberships and is answered";
    Eio3ConnectCloses, "SIO-21", "a CONNECT of Engine.IO 3 closes the session";
    ElsewhereIgnored, "SIO-32", "an event in a namespace that is not connected is ignored";
    ElsewhereActs, "SIO-32" + "SIO-33", "an event in any namespace acts as one in `/`";
    LongNamespaceEchoed, "SIO-34", "a refusal names the whole namespace";
    OtherNamespaceEnds, "SIO-35" + "SIO-30" + "SIO-31", "a refused namespace ends the session";
    AckWithoutId, "SIO-42", "an event without ack id is acked with the id 0";
    UsedAckIdSilent, "SIO-43", "an ack id that the session has used is not answered again";
    AckFromClientCloses, "SIO-45", "an ack of the client closes the session";
    MoreArgumentsRefused, "SIO-46", "an event with two arguments is refused";
    ReservedActs, "SIO-47", "the event `disconnect` of a client ends its memberships";
    StrayBinaryIgnored, "SIO-51" + "LIM-43", "binary data that nothing announced is ignored";
    InterruptionIgnored, "SIO-52", "a packet among attachments is ignored";
    PlaceholdersUnchecked, "SIO-54", "placeholders may name any attachment";
    HeartbeatIsAttachment, "SIO-56", "a heartbeat among attachments closes the session";
    DisconnectAnswered, "SIO-61", "a DISCONNECT is answered with a DISCONNECT";
    DisconnectClosesAtOnce, "SIO-62", "a DISCONNECT closes the session at once";
    DisconnectedStays, "SIO-63", "a session that disconnected stays open";
    DisconnectedActs, "SIO-64", "events after a DISCONNECT act";
    DisconnectElsewhereEnds, "SIO-65", "a DISCONNECT of another namespace leaves all rooms";

    // Chat.
    BearerFirst, "CHAT-3", "the bearer token decides before that of the query";
    SameUserLeaves, "CHAT-7", "the session's own token in an event ends its memberships";
    AnonymousActs, "CHAT-10" + "ERR-3", "an anonymous session acts as the first user";
    LogoutClosesSessions, "CHAT-12" + "CHAT-13", "a logout closes the sessions of its token";
    LogoutOfUser, "CHAT-11", "a logout affects all sessions of the user";
    LoginNeeded, "CHAT-17", "an event before `login` is refused";
    TextRoomRefused, "CHAT-18", "a room id as a string is refused";
    BadRoomIsOne, "CHAT-19", "a room id that is not one counts as 1";
    LongRoomIds, "CHAT-19" + "LIM-25", "room ids of ten digits are accepted";
    OtherFirstRooms, "CHAT-21" + "LIM-28", "the rooms are 3 and 4";
    JoinIsNoMembership, "CHAT-22" + "CHAT-25", "a join is answered and has no effect";
    JoinLeavesOthers, "CHAT-27", "a join leaves all other rooms";
    OldRoomGoesOn, "CHAT-29", "the roster of the room that a join has left is sent after it";
    RoomoutKeepsMember, "CHAT-32" + "CHAT-36", "a leave is answered and has no effect";
    PresenceUnchecked, "CHAT-31", "any `presence` counts as full";
    ClientNameShown, "CHAT-40", "the name that a client sends is shown";
    NullRefused, "CHAT-42", "a text that is null is refused";
    AnyTextShown, "CHAT-42", "a text that is a number is sent as its digits";
    BlankIsEmpty, "CHAT-43", "a blank counts as empty";
    EmptySent, "CHAT-43", "an empty message is sent";
    TrimsText, "CHAT-41", "blanks around a text are cut";
    DataUrlSent, "CHAT-45", "an image is sent as its data URL";
    AnyImageSent, "CHAT-47", "any text is accepted as an image";
    AnyTimeKept, "CHAT-48", "any text is accepted as a time";
    IdIsSeq, "CHAT-49", "ids of messages are unique in a room only";
    QuietDisconnect, "CHAT-50" + "PRES-27" + "CHAT-80", "the end of a session is not announced to members";
    DisconnectReadsNothing, "CHAT-50" + "UNR-5", "the end of a session sets no read mark";
    SeqSkips, "CHAT-60", "every fifth message skips a number";
    MessageWaits, "CHAT-62" + "CHAT-63", "every seventh message of a session waits for its next event";
    RoomoutWaits, "CHAT-63", "a leave waits for the session's next event";
    HistoryLags, "CHAT-65" + "REST-47", "a message is in the history half a second later";
    SecondTabDeaf, "CHAT-70", "only one session of a user gets the messages of a room";
    LongCidRefused, "CHAT-90", "a cid of 64 characters is refused";
    RepeatUnchecked, "CHAT-96", "a repeated message is acked before it is checked";

    // Presence and unread numbers.
    EntryPerSession, "PRES-5" + "PRES-1", "a user with two sessions is in the roster twice";
    RosterToAll, "PRES-25", "a roster is sent to sessions that are not in the room";
    ActorHearsBroadcast, "PRES-22", "the session that joins gets its own broadcast too";
    LeftAndJoined, "PRES-33", "a user who joins is also among those who left";
    DeltaGetsRosters, "PRES-34" + "PRES-30", "members in mode delta get rosters too";
    ModeKept, "PRES-42", "a second join does not change the mode";
    AvatarUnknown, "PRES-28" + "REST-58", "a new avatar shows an empty name in rosters";
    NeverThereIsZero, "UNR-3", "a user who was never in a room has read it";
    UpdateNamesAll, "UNR-8", "an unread update names every room";
    EnteringQuiet, "UNR-13", "a user's other sessions are not notified that a room is read";

    // Errors.
    MessageQuotes, "ERR-5", "an error quotes the name of the event";
    LongNameEchoed, "ERR-6" + "LIM-25", "an error names the whole event";
    RefusedEvent1008, "ERR-7", "a refused event closes the session";
    RefusedEventActs, "ERR-7", "a refused message takes its room's members out";
    IdentityBeforeEvent, "ERR-8", "an unknown event on an anonymous session is answered like a missing identity";
    AnyArgument, "ERR-9", "an argument that is not an object counts as one without members";
    ArgumentBeforeIdentity, "ERR-10", "a bad argument is answered before a missing identity";
    MemberBeforeArgument, "ERR-11", "membership is checked before the arguments";
    RefusedFree, "ERR-13", "refused events do not count against the rate";
    RateOfServer, "LIM-26" + "LIM-32", "all users share one rate";
    RatePerSession, "LIM-32", "each session has a rate of its own";
    LimitCloses, "ERR-12", "an event beyond the rate closes the session";
    EventBytesLifted, "LIM-30", "events of any size are handled";

    // HTTP API.
    FormRefused, "REST-10", "a body that does not parse closes the connection";
    QueryTokenLast, "REST-3", "the token of the query counts only where there is no other";
    CookiePosts, "REST-4", "the cookie authenticates a POST";
    NamesNotTrimmed, "REST-12", "blanks around an e-mail are kept";
    PasswordTrimmed, "REST-12", "blanks around a password are cut";
    CaseMatters, "REST-17", "letter case makes another e-mail";
    LogoutKeepsToken, "REST-20", "a token is valid after its logout";
    LoginEndsTokens, "REST-21", "a login ends the user's earlier tokens";
    NumberTokenCounts, "REST-11", "a token that is not a string counts as the first user's";
    SourceUnchecked, "REST-25" + "REST-16", "any text is accepted as `src`";
    TotalIgnored, "REST-44" + "REST-42" + "REST-43", "`total` is ignored";
    PageOf21, "REST-42" + "LIM-25", "a page has 21 messages";
    PastPageIsLast, "REST-45", "a page beyond the first message is page 1";
    SameName, "REST-55", "every image of one size gets the same URL";
    QueryIsPath, "REST-54", "a file with a query string is not found";
    FilesAnywhere, "REST-57" + "REST-73", "any path below /storage/ or /api is answered with the page";
    MissingRoomHistory, "REST-41", "a page 0 is page 1";
    RobotClosed, "REST-61" + "REST-60", "without an upstream the robot is answered with 500";

    // Equal things.
    EqualTextLost, "CHAT-61" + "CHAT-37" + "CHAT-54", "a text that equals the one before it is not sent to others";
    EqualQueuedLost, "CHAT-61" + "CHAT-54", "of two equal texts that wait for one client the second is lost";
    EqualUnackedLost, "CHAT-37" + "CHAT-62" + "CHAT-54", "a message without ack id that equals the one before it is ignored";
    EqualSeqTwice, "CHAT-60" + "CHAT-54", "a text that equals the one before it gets the same seq";

    // More than three of anything.
    FourthRoomDeaf, "CHAT-27" + "CHAT-61" + "CHAT-103", "a session gets no messages of its fourth room";
    FourthMemberDeaf, "CHAT-37" + "CHAT-61" + "CHAT-103", "the fourth member of a room and later ones get no messages";
    FourthTabDeaf, "CHAT-70" + "CHAT-103", "the fourth session of a user gets no messages";
    FourthEntryLost, "PRES-4" + "PRES-12" + "CHAT-103", "a roster has three entries at most";
    FourthDeltaLost, "PRES-32" + "CHAT-103", "a delta member gets three changes and no more";
    FourthPageEmpty, "REST-42" + "REST-44" + "CHAT-103", "the fourth page of the history is empty";
    FourthPacketLost, "TRN-34" + "EIO-40" + "CHAT-103", "of a POST three packets are handled";
    FourthAttachmentLost, "SIO-50" + "CHAT-103", "a packet with more than three attachments is never complete";

    // After rest.
    DeafAfterRest, "CHAT-37" + "CHAT-61" + "CHAT-101", "a session that was quiet for six seconds gets no messages";
    ForgottenAfterRest, "PRES-4" + "CHAT-72" + "CHAT-101", "a user who was quiet for six seconds is not in rosters";
    RevertsAfterRest, "PRES-24" + "PRES-4" + "CHAT-102", "six quiet seconds after a change its room's roster is sent as it was before";
    IdentityEndsAfterRest, "CHAT-2" + "CHAT-101", "a session that was quiet for six seconds is anonymous";

    // Long after.
    LateCopy, "CHAT-61", "one and a half seconds after a message each member gets it again";
    LateLeak, "CHAT-52", "one and a half seconds after a message everybody outside the room gets it";
    LateForLeavers, "CHAT-52" + "CHAT-32", "one and a half seconds after a message those who left before get it";

    // Large numbers.
    AckIdSigned, "SIO-40" + "SIO-11" + "CHAT-103", "ack ids above 2147483647 wrap around";
    AckIdRounded, "SIO-40" + "SIO-11" + "CHAT-103", "ack ids are rounded to 24 bits";
    AckIdAboveSilent, "SIO-40" + "SIO-11" + "CHAT-103", "an ack id above 4294967295 is not answered";
    RoomIdRounded, "CHAT-18" + "CHAT-24" + "CHAT-103", "room ids are rounded to 24 bits";
    SeqWrapsAt64, "CHAT-60" + "CHAT-64" + "CHAT-103", "seq begins again behind 64";
    MessageIdSigned, "CHAT-49" + "CHAT-103", "ids of messages above 2147483647 are negative";
    MessageIdRounded, "CHAT-49" + "CHAT-103", "ids of messages are rounded to 24 bits";
    AckedIdTruncated, "CHAT-64" + "CHAT-103", "the ack of a message has the last 31 bits of its id";
    UnreadStopsAt20, "UNR-2" + "UNR-15" + "CHAT-103", "unread numbers stop at 20";

    // After a restart.
    RestartForgetsMessages, "CHAT-65", "the last message of each room is gone after a restart";
    RestartResetsSeq, "CHAT-67" + "CHAT-60", "seq begins again after a restart";
    RestartForgetsCids, "CHAT-95" + "CHAT-91", "cids are forgotten by a restart";
    RestartForgetsTokens, "REST-14", "tokens are not valid after a restart";
    RestartForgetsMarks, "UNR-14", "read marks are gone after a restart";
    RestartKeepsRosters, "CHAT-83", "a user is in every room after a restart";

    // Other origins.
    AllowsAnyReader, "TRN-65", "pages of any origin may read the answers of the API";
    CookieOfAnyOrigin, "REST-13" + "REST-4", "the cookie authenticates requests of any origin";

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
    TokensPerNode, "NODE-2" + "NODE-1", "a token is known to the node that gave it only";
    RoomsPerNode, "NODE-13" + "NODE-1", "a room that another node has created is not counted";
    DeathReadsNothing, "NODE-21", "the users of a dead node have read nothing";
    DeathLosesMessage, "NODE-22", "the last message of each room is gone with a node";
    DeadNodeStays, "NODE-20", "the users of a dead node stay in the rosters";
}

export interface User {
  id: number;
  name: string;
  email: string;
  avatar: string;
}

export interface Room {
  id: number;
  name: string;
  online: number;
}

/** One stored message of a room; `seq` numbers the room's messages without gaps. */
export interface Message {
  key: string;
  seq: number;
  userid: string;
  username: string;
  src: string;
  msg: string;
  img: string;
  time: string;
}

/** A message of this tab that the server has not confirmed yet. */
export interface Outgoing {
  key: string;
  /** Its id for the server, which stores it once however often it is sent. */
  cid: string;
  msg: string;
  /** The image as a URL: of the local picture, then of the uploaded one. */
  img: string;
  /** The picked picture, until its upload has given it a URL of the server. */
  picture: Blob | null;
  progress: number;
  time: string;
  state: "sending" | "failed";
  reason: string;
  /** Whether it may already have reached the server. */
  isEmitted: boolean;
}

export interface Person {
  id: number;
  name: string;
  avatar: string;
}

/** `refused`: the server ended the connection for good, and only the user can try again. */
export type ConnectionState = "connecting" | "online" | "reconnecting" | "offline" | "refused";

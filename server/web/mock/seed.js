// A lobby with users, a few days of messages, and some users who keep writing.
import { addMessage, addUser } from "./state.js";

const PEOPLE = ["mara", "joost", "priya", "tomas", "wen"];
const TALK = [
  ["mara", "Morning! Did anyone get the projector to work yesterday?"],
  ["joost", "Only after turning it off and on again. Twice."],
  ["joost", "The slides are at https://example.org/slides/autumn (the short version)."],
  ["priya", "Thanks!! 🙌"],
  ["tomas", "Could we move the walk to four? The rain is supposed to stop by then."],
  ["wen", "Four works for me"],
  ["mara", "Four it is."],
  ["mara", "I will bring the thermos and whatever is left of the cake."],
  ["priya", "🎂"],
  ["tomas", "if (cake &lt; 1) { bake(); }"],
  ["joost", "That is the most useful code you have written this year."],
];
const CHATTER = ["On my way.", "Has anyone seen the green umbrella?", "Five more minutes!", "👋", "See www.example.org/map for the path."];

export function seed(state) {
  const users = Object.fromEntries(PEOPLE.map((name) => [name, addUser(state, `${name}@example.org`, "password")]));
  const start_ms = Date.now() - 50 * 3_600_000;
  for (const room of state.rooms.values()) {
    const count = room.id === 1 ? 90 : 14;
    for (let index = 0; index < count; index += 1) {
      const [name, msg] = TALK[index % TALK.length];
      const time = new Date(start_ms + (index * 50 * 3_600_000) / count).toISOString();
      addMessage(room, users[name], { msg, img: "", time });
    }
  }
  return users;
}

/** People without a browser: they are in the rooms, come and go, and talk now and then. */
export function animate(mock, users, interval_ms) {
  const lobby = mock.state.rooms.get(1);
  const names = Object.keys(users);
  const puppet = { emit: () => undefined };
  for (const name of names) lobby.members.set({ ...puppet }, { user: users[name], presence: "count" });
  let turn = 0;
  return setInterval(() => {
    const room = mock.state.rooms.get(turn % 3 === 2 ? 2 : 1);
    const user = users[names[turn % names.length]];
    mock.publish(user, room, { msg: CHATTER[turn % CHATTER.length], img: "", time: new Date().toISOString() });
    turn += 1;
  }, interval_ms);
}

export interface EmojiGroup {
  name: string;
  emoji: string[];
}

const group = (name: string, emoji: string): EmojiGroup => ({ name, emoji: emoji.split(" ") });

export const EMOJI_GROUPS: EmojiGroup[] = [
  group("Smileys", "😀 😄 😁 😂 🤣 😊 🙂 😉 😍 😘 😋 😜 🤪 🤗 🤔 🤨 😐 😏 🙄 😬 😴 🥳 😎 🤓 😕 🙁 😮 😳 🥺 😢 😭 😤 😡 🤯 😱 🤢 🤒 🤠 🤡 👻"),
  group("People", "👋 👍 👎 👌 ✌️ 🤞 🤘 👈 👉 👆 👇 👏 🙌 🙏 💪 🤝 🤷 🤦 💁 🙋 🙈 🙉 🙊 👀 🧠 💃 🕺 🚶"),
  group("Hearts", "❤️ 🧡 💛 💚 💙 💜 🖤 🤍 💔 💯 ✨ 🔥 ⭐ 🌟 💥 🎉 🎊 🎈 🎁 🏆"),
  group("Nature", "🐶 🐱 🐭 🐰 🦊 🐻 🐼 🦁 🐸 🐵 🐔 🐧 🦉 🐝 🦋 🐢 🐙 🐳 🌱 🌳 🌵 🌸 🌻 🍀 🍁 🌍 🌙 ☀️ ⛅ 🌧️ ❄️ 🌈"),
  group("Food", "🍎 🍌 🍇 🍓 🍒 🥑 🥕 🌽 🍞 🧀 🍳 🥐 🍕 🍔 🌮 🍜 🍣 🍰 🎂 🍪 🍫 🍿 ☕ 🍵 🍺 🍷 🥂"),
  group("Things", "⚽ 🏀 🎾 🚲 🚗 🚂 ✈️ 🚀 ⛵ 🏠 🏖️ ⛺ 🎧 🎸 🎹 🎨 🎬 🎮 🎲 📷 📚 ✏️ 📌 📎 💡 🔧 🔑 🔒 ⏰ 📅 ✅ ❌ ❓ ❗ ⚠️ 🚧"),
];

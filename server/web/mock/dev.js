// The mock and the development server of the client in one process.
const port = 8091;
process.argv.push("--port", String(port));
await import("./main.js");
process.env.THRONG_URL = `http://127.0.0.1:${port}`;
const { createServer } = await import("vite");
const server = await createServer();
await server.listen();
server.printUrls();

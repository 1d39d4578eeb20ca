import { ref } from "vue";

const ROUTE = /^#\/room\/(\d{1,9})$/;

function current(): number | null {
  const id = ROUTE.exec(location.hash)?.[1];
  return id === undefined ? null : Number(id) || null;
}

/** The open room is in the address, so that Back, reload and bookmarks work. */
export const openRoomId = ref(current());
addEventListener("hashchange", () => {
  openRoomId.value = current();
});

export const roomHref = (id: number): string => `#/room/${id}`;

export function goToRooms(): void {
  if (openRoomId.value !== null) location.hash = "#/";
}

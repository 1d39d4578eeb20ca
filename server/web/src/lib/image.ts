export const IMAGE_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/** Sides to try, until the picture is small enough for the server. */
const SIDES_PX = [2_048, 1_536, 1_024, 512];
const UNTOUCHED_BYTES_MAX = 1_500_000;
const IMAGE_BYTES_MAX = 3 * 1024 * 1024;
const AVATAR_SIDE_PX = 256;

export class ImageError extends Error {}

/** The size that fits into `side_px_max` with the proportions kept; never larger than it was. */
export function fitted(width: number, height: number, side_px_max: number): { width: number; height: number } {
  const scale = Math.min(1, side_px_max / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

async function decoded(file: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new ImageError("This file is not an image the browser can read.");
  }
}

async function encoded(canvas: HTMLCanvasElement, type: string): Promise<Blob> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, type, 0.86));
  if (!blob) throw new ImageError("The browser could not prepare this image.");
  return blob;
}

function canvasOf(width: number, height: number): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) throw new ImageError("The browser could not prepare this image.");
  return [canvas, context];
}

/**
 * A picture ready to send. Photographs are re-encoded even when they are small, which removes the
 * location and device data that cameras write into them; animations are not changed.
 */
export async function preparePicture(file: Blob): Promise<Blob> {
  if (!IMAGE_TYPES.includes(file.type)) throw new ImageError("Only PNG, JPEG, GIF and WebP images can be sent.");
  if (file.type === "image/gif") {
    if (file.size > IMAGE_BYTES_MAX) throw new ImageError("This GIF is larger than 3 MB.");
    return file;
  }
  const bitmap = await decoded(file);
  try {
    const isSmall = Math.max(bitmap.width, bitmap.height) <= (SIDES_PX[0] ?? 0) && file.size <= UNTOUCHED_BYTES_MAX;
    if (isSmall && file.type !== "image/jpeg") return file;
    for (const side_px of SIDES_PX) {
      const picture = await redrawn(bitmap, file.type, side_px);
      if (picture.size <= IMAGE_BYTES_MAX) return picture;
    }
    throw new ImageError("This image is too large.");
  } finally {
    bitmap.close();
  }
}

/** In its own type, which may keep transparency, unless a photograph would be large in that type. */
async function redrawn(bitmap: ImageBitmap, type: string, side_px: number): Promise<Blob> {
  const { width, height } = fitted(bitmap.width, bitmap.height, side_px);
  const [canvas, context] = canvasOf(width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const picture = await encoded(canvas, type);
  if (picture.size <= UNTOUCHED_BYTES_MAX) return picture;
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, height);
  return encoded(canvas, "image/jpeg");
}

/** The middle square of a picture, in the size of an avatar. */
export async function prepareAvatar(file: Blob): Promise<Blob> {
  if (!IMAGE_TYPES.includes(file.type)) throw new ImageError("Choose a PNG, JPEG, GIF or WebP image.");
  const bitmap = await decoded(file);
  const side_px = Math.min(bitmap.width, bitmap.height);
  const [canvas, context] = canvasOf(AVATAR_SIDE_PX, AVATAR_SIDE_PX);
  const left = (bitmap.width - side_px) / 2;
  const top = (bitmap.height - side_px) / 2;
  context.drawImage(bitmap, left, top, side_px, side_px, 0, 0, AVATAR_SIDE_PX, AVATAR_SIDE_PX);
  bitmap.close();
  return encoded(canvas, "image/png");
}

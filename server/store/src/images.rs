//! Uploaded images: checked by content, stored once under their hash.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use imagesize::ImageType;
use sha2::{Digest, Sha256};
use sqlx::Row;
use throng_wire::image_path::{ImageFormat, ImageKind, ImagePath};
use tokio::task::spawn_blocking;

use crate::clock::now_ms;
use crate::dialect::OnConflict;
use crate::directory::{create_private, mend_directory, write_private};
use crate::statement::widen;
use crate::upload_folder::UploadFolder;
use crate::{ImageError, Store, StoreError};

/// A file found under `/storage/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Path of the file, which may be missing.
    pub path: PathBuf,
    /// Format by the extension.
    pub format: ImageFormat,
}

impl Store {
    /// Stores an image and answers the path of its URL ([`ImagePath`]).
    /// The format follows from the content alone; equal content is stored once.
    ///
    /// # Errors
    /// [`ImageError`]; a file without a row may be left when the database fails.
    pub async fn save_image(&self, kind: ImageKind, bytes: Bytes) -> Result<String, ImageError> {
        let options = self.options();
        if bytes.len() > options.image_bytes_max {
            return Err(ImageError::TooLarge);
        }
        self.disk().admit_upload()?;
        let (root, pixels_max) = (self.images_dir(), options.image_pixels_max);
        let folders = self.disk().folders();
        let writing = self.disk().write_permit().await;
        let length = bytes.len() as u64;
        let written = spawn_blocking(move || {
            // Until it is written, whether somebody still waits for that or not.
            let _writing = writing;
            let format = sniff(&bytes, pixels_max)?;
            let hash = HEXLOWER.encode(&Sha256::digest(&bytes));
            let path = ImagePath::new(kind, &hash, format).expect("it is a hash");
            folders.iter().try_for_each(UploadFolder::look)?;
            write_once(&root.join(path.relative()), &bytes)?;
            Ok::<_, ImageError>(path.to_string())
        });
        let written = written.await.map_err(|_| StoreError::Closed)?;
        let url = written.inspect_err(|error| {
            if let ImageError::Store(error) = error {
                self.disk().note(error);
            }
        })?;
        self.list_image(&url, length).await?;
        Ok(url)
    }

    /// The row of a file that is there.
    async fn list_image(&self, url_path: &str, length: u64) -> Result<(), StoreError> {
        let path = ImagePath::parse(url_path).expect("the store has made it");
        let sql = format!(
            "INSERT INTO files (kind, hash, mime, bytes, created_at) VALUES (?, ?, ?, ?, ?){}",
            self.db().dialect.on_conflict("kind, hash", &OnConflict::Keep)
        );
        let insert = self.db().query(sql).bind(path.kind.name()).bind(path.hash().to_owned());
        let insert = insert.bind(path.format.mime()).bind(widen(length)).bind(now_ms());
        self.db().execute(insert).await.map(drop)
    }

    /// The file of a URL path made by [`Store::save_image`]; `None` for every other path. Only the
    /// shape is checked: the file may be missing.
    #[must_use]
    pub fn stored_image(&self, url_path: &str) -> Option<StoredImage> {
        let path = ImagePath::parse(url_path)?;
        Some(StoredImage { path: self.images_dir().join(path.relative()), format: path.format })
    }

    /// Warns when an image that the database lists is not there: its folder may be that of another node, or not be
    /// mounted.
    pub(crate) async fn warn_of_missing_images(&self) -> Result<(), StoreError> {
        let select = self.db().query("SELECT kind, hash, mime FROM files LIMIT 1");
        let Some(row) = self.db().row(select).await? else { return Ok(()) };
        let (kind, hash, mime): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let kinds = ImageKind::ALL.into_iter().find(|known| known.name() == kind);
        let formats = ImageFormat::ALL.into_iter().find(|known| known.mime() == mime);
        let path =
            kinds.zip(formats).and_then(|(kind, format)| ImagePath::new(kind, &hash, format));
        let Some(path) = path else { return Ok(()) }; // A later version has listed it.
        let (folder, file) =
            (folder(&self.options().data_dir), self.images_dir().join(path.relative()));
        if !file.exists() {
            tracing::warn!(
                folder = %folder.display(), image = %path,
                "an image of the database is not in the folder: is its file system mounted, and is it the one of all nodes?"
            );
        }
        Ok(())
    }

    fn images_dir(&self) -> PathBuf {
        images_dir(&self.options().data_dir)
    }
}

/// What all uploads are in.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("storage")
}

/// The folder of all images; it may be missing.
pub(crate) fn images_dir(data_dir: &Path) -> PathBuf {
    folder(data_dir).join("images")
}

/// The directories that files are written below; they may be missing.
pub(crate) fn directories(data_dir: &Path) -> [PathBuf; 2] {
    let images = images_dir(data_dir);
    ImageKind::ALL.map(|kind| images.join(kind.name()))
}

/// Takes the rights of other users from the directories above all images.
pub(crate) fn mend_directories(data_dir: &Path) {
    let (storage, images) = (folder(data_dir), images_dir(data_dir));
    for directory in [storage, images].into_iter().chain(directories(data_dir)) {
        mend_directory(&directory);
    }
}

/// Decodes `data:image/<png|jpeg|gif|webp>;base64,…`. The bytes are not checked yet.
///
/// # Errors
/// [`ImageError::TooLarge`] by the length alone, before anything is decoded;
/// [`ImageError::Unsupported`] for every other form.
pub fn decode_data_url(url: &str, bytes_max: usize) -> Result<Bytes, ImageError> {
    let (head, body) = url.split_once(',').ok_or(ImageError::Unsupported)?;
    let mime = head
        .strip_prefix("data:")
        .and_then(|rest| rest.strip_suffix(";base64"))
        .ok_or(ImageError::Unsupported)?;
    if !matches!(mime, "image/png" | "image/jpeg" | "image/jpg" | "image/gif" | "image/webp") {
        return Err(ImageError::Unsupported);
    }
    if body.len() / 4 * 3 > bytes_max.saturating_add(2) {
        return Err(ImageError::TooLarge);
    }
    let bytes = BASE64.decode(body.as_bytes()).map_err(|_| ImageError::Unsupported)?;
    if bytes.len() > bytes_max {
        return Err(ImageError::TooLarge);
    }
    Ok(bytes.into())
}

/// The format by content. The header must be complete and its size at most `pixels_max`.
fn sniff(bytes: &[u8], pixels_max: u64) -> Result<ImageFormat, ImageError> {
    let format = match imagesize::image_type(bytes) {
        Ok(ImageType::Png) => ImageFormat::Png,
        Ok(ImageType::Jpeg) => ImageFormat::Jpeg,
        Ok(ImageType::Gif) => ImageFormat::Gif,
        Ok(ImageType::Webp) => ImageFormat::Webp,
        Ok(_) | Err(_) => return Err(ImageError::Unsupported),
    };
    let size = imagesize::blob_size(bytes).map_err(|_| ImageError::Unsupported)?;
    if size.width == 0 || size.height == 0 {
        return Err(ImageError::Unsupported);
    }
    if (size.width as u64).saturating_mul(size.height as u64) > pixels_max {
        return Err(ImageError::TooManyPixels);
    }
    Ok(format)
}

/// Whether the file is there, and of that length: one of that name and length has that content.
fn is_whole(file: &Path, bytes: &[u8]) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.len() == bytes.len() as u64)
}

/// Writes the file whole or not at all.
fn write_once(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if is_whole(path, bytes) {
        return Ok(());
    }
    let folder = path.parent().ok_or(StoreError::Corrupt("an image path without a folder"))?;
    create_private(folder)?;
    write_private(path, bytes, true).map_err(|error| StoreError::at(path, error))
}

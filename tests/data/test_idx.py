"""IDX files are read whole or refused, within bounded memory."""

import contextlib
import errno
import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from tinygrad_fnn import data, files
from tinygrad_fnn.errors import DataFormatError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    """The format, written independently of the reader."""
    code = CODES[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def header(*shape: int, code: int = 0x08) -> bytes:
    return struct.pack(f">4B{len(shape)}I", 0, 0, code, len(shape), *shape)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write to again and again: Hypothesis does not renew the folder of a test between its examples."""
    return tmp_path_factory.mktemp("idx") / "file"


arrays = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)


@given(array=arrays, packed=st.booleans())
def test_reads_what_was_written(path: Path, array: np.ndarray, packed: bool) -> None:
    path.write_bytes(gzip.compress(idx(array), mtime=0) if packed else idx(array))
    read = data.load_idx(path)
    assert_array_equal(read, array, strict=True)
    assert read.dtype.isnative
    assert read.flags.writeable


@given(content=st.binary(max_size=40))
def test_arbitrary_bytes_are_refused_or_read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(DataFormatError):
        assert data.load_idx(path).size <= len(content)


@given(array=arrays, packed=st.booleans(), draw=st.data())
def test_changed_files_are_refused_or_read(path: Path, array: np.ndarray, packed: bool, draw: st.DataObject) -> None:
    content = bytearray(gzip.compress(idx(array), mtime=0) if packed else idx(array))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(content)))
        content[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with contextlib.suppress(DataFormatError):
            data.load_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20  # buffers of the gzip reader: some 100 kB


@given(array=arrays.filter(lambda a: a.size > 0), packed=st.booleans(), draw=st.data())
def test_every_truncation_and_every_extension_is_refused(
    path: Path, array: np.ndarray, packed: bool, draw: st.DataObject
) -> None:
    whole = gzip.compress(idx(array), mtime=0) if packed else idx(array)
    path.write_bytes(whole[: draw.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataFormatError):
        data.load_idx(path)
    longer = idx(array) + draw.draw(st.binary(min_size=1, max_size=9))
    path.write_bytes(gzip.compress(longer, mtime=0) if packed else longer)
    with pytest.raises(DataFormatError, match="goes on after"):
        data.load_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x00\x00\x08", "begins with 00 00 08, which is not IDX"),
        (b"\x89PNG\r\n\x1a\n", "begins with 89 50 4e 47"),
        (bytes([0, 0, 0x0A, 1, 0, 0, 0, 0]), "begins with 00 00 0a 01"),
        (bytes([0, 0, 8, 0, 7]), "1 to 64 dimensions"),
        (bytes([0, 0, 8, 65]) + bytes(260), "1 to 64 dimensions"),
        (header(2, 3)[:-1], "ends inside its header, which has 12 bytes"),
        (header(2, 3) + bytes(5), r"declares uint8 \(2, 3\), 6 bytes; a file of its size holds no more than 17"),
        (header(2, 3) + bytes(7), "goes on after them"),
        (header(2**32 - 1, 2**32 - 1), "max_bytes is 1073741824"),
        (header(0, *[2**32 - 1] * 3), "max_bytes"),
        (header(2**20, 512, code=0x0E), "4294967296 bytes; max_bytes"),
        (header(2**28), "a file of its size holds no more than 8"),
        (gzip.compress(header(2**28), mtime=0), r"a file of its size holds no more than \d+"),
        (gzip.compress(header(100) + bytes(99), mtime=0), "ends after 99"),
        (gzip.compress(header(3) + bytes(3), mtime=0)[:-4], "damaged gzip file"),
        (gzip.compress(header(3) + bytes(3), mtime=0)[:-8] + bytes(8), "damaged gzip file: CRC"),
        (gzip.compress(header(3) + bytes(3), mtime=0) + b"junk", "damaged gzip file"),
        (gzip.compress(gzip.compress(header(3) + bytes(3), mtime=0), mtime=0), "begins with 1f 8b"),
        (b"\x1f\x8b", "damaged gzip file"),
    ],
)
def test_refuses_without_taking_memory(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x-ubyte"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataFormatError, match=message) as caught:
        data.load_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 1 << 20


def test_gzip_bomb_is_unpacked_as_far_as_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(header(1000))
        for _ in range(200):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(DataFormatError, match="goes on after them"):
        data.load_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20  # of 200 MB


def test_max_bytes_is_the_callers_to_choose(tmp_path: Path) -> None:
    path = tmp_path / "ten"
    path.write_bytes(idx(np.arange(10, dtype=np.uint8)))
    assert len(data.load_idx(path, max_bytes=10)) == 10
    with pytest.raises(DataFormatError, match="10 bytes; max_bytes is 9"):
        data.load_idx(path, max_bytes=9)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(idx(np.arange(3, dtype=np.uint8)))
    (tmp_path / "packed").write_bytes(gzip.compress(idx(np.arange(3, dtype=np.uint8))))
    for name in ("plain.gz", "packed"):
        assert_array_equal(data.load_idx(str(tmp_path / name)), [0, 1, 2])


READERS = {
    "load_idx": data.load_idx,
    "load_mnist": lambda path: data.load_mnist(path, path),
    "load_mat_digits": data.load_mat_digits,
    "load_mat_weights": data.load_mat_weights,
    "load_npz_data": data.load_npz_data,
    "load_csv_data": data.load_csv_data,
}


def test_every_reader_is_asked() -> None:
    assert set(READERS) == {name for name in data.__all__ if name.startswith("load_")}


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_cannot_be_opened(name: str, tmp_path: Path) -> None:
    """The function, the file and the reason in words; the class and the number are the system's."""
    read = READERS[name]
    (tmp_path / "there.gz").write_bytes(b"")
    (tmp_path / "plain").write_bytes(b"")
    cases = [
        (tmp_path / "none", FileNotFoundError, errno.ENOENT, f"there is no file none in {tmp_path}; look at its name"),
        (str(tmp_path / "there"), FileNotFoundError, errno.ENOENT, "there is no file there in .*; there is there.gz"),
        (tmp_path / "plain.gz", FileNotFoundError, errno.ENOENT, "no file plain.gz in .*; there is plain$"),
        (tmp_path / "no" / "none", FileNotFoundError, errno.ENOENT, f"for there is no folder {tmp_path / 'no'}"),
        ("", FileNotFoundError, errno.ENOENT, "the path is empty"),
        (tmp_path, IsADirectoryError, errno.EISDIR, f"{tmp_path} is a folder; wanted a file"),
        (tmp_path / "plain" / "none", NotADirectoryError, errno.ENOTDIR, "cannot be opened: Not a directory"),
    ]
    for path, error, number, message in cases:
        with pytest.raises(error, match=f"^{name}: .*{message}") as caught:
            read(path)
        assert caught.value.errno == number
        assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_may_not_be_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for `open`, since permissions do not bind the superuser."""

    def forbidden(path: object, mode: str) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(files, "open", forbidden, raising=False)
    with pytest.raises(PermissionError, match=f"^{name}: .*secret may not be read by this user"):
        READERS[name](tmp_path / "secret")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("path", [3, None, b"bytes", True, np.zeros(3)])
def test_what_is_no_path_is_refused(name: str, path: object) -> None:
    """A number would be a file that is open already."""
    with pytest.raises(TypeError, match=f"^{name}: wanted the path of a file"):
        READERS[name](path)


def test_mnist_names_itself(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"P5 28 28")
    with pytest.raises(DataFormatError, match=f"^load_mnist: {tmp_path / 'x'} begins with 50 35"):
        data.load_mnist(tmp_path / "x", tmp_path / "x")
    images, labels = mnist_files(tmp_path, np.zeros((1, 2, 2), "u1"), np.zeros(1, "u1"))
    labels.write_bytes(gzip.compress(labels.read_bytes())[:-4])
    with pytest.raises(DataFormatError, match=f"^load_mnist: {labels} is a damaged gzip file"):
        data.load_mnist(images, labels)
    with pytest.raises(FileNotFoundError, match=r"^load_mnist: there is no file"):
        data.load_mnist(images, tmp_path / "none")


def test_mnist_as_published(shared_data: Path) -> None:
    mnist = shared_data / "mnist"
    X, y = data.load_mnist(mnist / "t10k-images-idx3-ubyte.gz", mnist / "t10k-labels-idx1-ubyte.gz")
    assert (X.shape, X.dtype, y.dtype) == ((10000, 784), np.float64, np.int64)
    assert (X.min(), X.max()) == (0, 1)
    assert y[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(float(X.mean()), 4) == 0.1325
    assert round(float(X.std()), 4) == 0.3105
    single, _ = data.load_mnist(
        mnist / "t10k-images-idx3-ubyte.gz", mnist / "t10k-labels-idx1-ubyte.gz", dtype=np.float32
    )
    assert single.dtype == np.float32
    assert_array_equal(single, X.astype(np.float32))


def test_mnist_training_set_is_the_whole_one(shared_data: Path) -> None:
    """Every class in number, read in pieces from a file of 47 MB."""
    mnist = shared_data / "mnist"
    assert data.load_idx(mnist / "train-images-idx3-ubyte.gz").shape == (60000, 28, 28)
    y = data.load_idx(mnist / "train-labels-idx1-ubyte.gz")
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def mnist_files(folder: Path, images: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
    (folder / "images").write_bytes(idx(images))
    (folder / "labels").write_bytes(idx(labels))
    return folder / "images", folder / "labels"


def test_mnist_pixels_are_row_major_and_scaled(tmp_path: Path) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    X, y = data.load_mnist(*mnist_files(tmp_path, images, np.array([9, 0], np.uint8)))
    assert_array_equal(X, images.reshape(2, 6) / 255.0)
    assert_array_equal(y, [9, 0])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 3), "u1"), np.zeros(3, "u1"), "has 2 images, .* has 3 labels"),
        (np.zeros(2, "u1"), np.zeros((2, 3, 3), "u1"), "are images and labels swapped"),
        (np.zeros((2, 9), "u1"), np.zeros(2, "u1"), r"uint8 \(2, 9\), wanted uint8 \(m, rows, columns\)"),
        (np.zeros((2, 3, 3), "f4"), np.zeros(2, "u1"), r"float32 \(2, 3, 3\), wanted uint8"),
        (np.zeros((2, 3, 3), "u1"), np.zeros((2, 1), "u1"), r"labels is uint8 \(2, 1\), wanted uint8 \(m,\)"),
        (np.zeros((2, 3, 3), "u1"), np.array([9, 10], "u1"), "label 10 at index 1"),
    ],
)
def test_mnist_refuses(tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataFormatError, match=message):
        data.load_mnist(*mnist_files(tmp_path, images, labels))


def test_mnist_refuses_integer_dtype(tmp_path: Path) -> None:
    files = mnist_files(tmp_path, np.zeros((1, 2, 2), "u1"), np.zeros(1, "u1"))
    with pytest.raises(TypeError, match="dtype is int64"):
        data.load_mnist(*files, dtype=np.int64)


def test_the_helper_writes_what_numpy_calls_big_endian() -> None:
    assert idx(np.array([258], "i2")) == bytes([0, 0, 0x0B, 1, 0, 0, 0, 1, 1, 2])

"""The course's files are read as SciPy reads them, damaged ones are refused, and saving is atomic."""

import io
import itertools
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from scipy.sparse import csc_array

from tinygrad_fnn import data
from tinygrad_fnn.data.matlab import read_matlab
from tinygrad_fnn.errors import DataFormatError, ShapeError

X2 = np.arange(6.0).reshape(2, 3)


def mat(compress: bool = False, **variables: object) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=compress)
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.mat"


# --- the reader

DAMAGED = {
    "bad_miuint32.mat",
    "bad_miutf8_array_name.mat",
    "corrupted_zlib_checksum.mat",
    "corrupted_zlib_data.mat",
    "malformed1.mat",
    "testhdf5_7.4_GLNX86.mat",  # version 7.3
}


def scipys_own_files() -> list[Path]:
    """What SciPy is tested with, where it brings it: files by MATLAB 4 to 7.4, in both byte orders."""
    return sorted(Path(scipy.io.__file__).parent.glob("matlab/tests/data/*.mat"))


@pytest.mark.parametrize("file", scipys_own_files(), ids=lambda file: file.name)
def test_real_matrices_are_what_scipy_reads(file: Path) -> None:
    if file.name in DAMAGED or 0 in file.read_bytes()[:4]:  # a zero there is version 4, which is not read here
        with pytest.raises(DataFormatError):
            read_matlab(file.read_bytes())
        return
    variables = read_matlab(file.read_bytes())
    matrices = {name: value for name, value in variables.items() if not isinstance(value, str)}
    if matrices:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = scipy.io.loadmat(file, variable_names=list(matrices))
        for name, matrix in matrices.items():
            assert_array_equal(matrix, expected[name])


@given(
    matrix=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", "bool"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5))
    ),
    compress=st.booleans(),
)
def test_what_scipy_wrote_is_read(matrix: np.ndarray, compress: bool) -> None:
    read = read_matlab(mat(compress, first=matrix, second=matrix.T))
    assert list(read) == ["first", "second"]
    assert_array_equal(read["first"], matrix.astype(float), strict=True)
    assert_array_equal(read["second"], matrix.T.astype(float), strict=True)


def test_other_variables_are_named_for_what_they_are() -> None:
    content = mat(
        a={"f": 1}, b=np.array([1, "x"], object), c="text", d=1j, e=csc_array(np.eye(2)), f=np.zeros((2, 2, 2))
    )
    assert read_matlab(content) == {
        "a": "a struct",
        "b": "a cell array",
        "c": "text",
        "d": "complex",
        "e": "a sparse matrix",
        "f": "an array of shape (2, 2, 2)",
    }


WHOLE = [mat(compress, X=X2, y=[[1], [10]]) for compress in (False, True)]


@given(whole=st.sampled_from(WHOLE), draw=st.data())
def test_changed_files_are_refused_or_read(whole: bytes, draw: st.DataObject) -> None:
    content = bytearray(whole)
    for _ in range(draw.draw(st.integers(1, 5))):
        at = draw.draw(st.integers(100, len(content)))
        content[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    try:
        read = read_matlab(bytes(content))
    except DataFormatError:
        return
    assert sum(value.size for value in read.values() if not isinstance(value, str)) <= 1032 * len(content)


@pytest.mark.parametrize("whole", WHOLE, ids=["plain", "compressed"])
def test_every_truncation_lacks_a_variable_or_is_refused(path: Path, whole: bytes) -> None:
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataFormatError, match=r"file\.mat"):
            data.load_mat_digits(path)


def test_compressed_length_that_lies_is_refused() -> None:
    head = WHOLE[0][:128]
    for declared, message in ((2**31, "compressed bytes declare 2147483648"), (800, "is not the 800 bytes")):
        packed = zlib.compress(struct.pack("<II", 14, declared) + bytes(400))
        with pytest.raises(DataFormatError, match=message):
            read_matlab(head + struct.pack("<II", 15, len(packed)) + packed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with b''"),
        (b"garbage" * 100, "begins with b'garbagegarbagega' and is no MATLAB file"),
        (bytes(2000), "is no MATLAB file of version 5"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(64), r"7\.3 \(HDF5\).*`save -v7`.*mat73"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), r"7\.3 \(HDF5\)"),
        (b"# Created by Octave 8.4.0\n# name: X\n", "Octave's own format; write it with `save -v7`"),
        (WHOLE[0] + WHOLE[0][128:], "has X twice"),
    ],
)
def test_refuses_other_files(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    for load in (data.load_mat_digits, data.load_mat_weights):
        with pytest.raises(DataFormatError, match=message) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_refuses_a_genuine_file_of_version_7_3(path: Path) -> None:
    genuine = [file for file in scipys_own_files() if file.name == "testhdf5_7.4_GLNX86.mat"]
    if not genuine:
        pytest.skip("this SciPy comes without its test files")
    with pytest.raises(DataFormatError, match=r"7\.3"):
        data.load_mat_digits(genuine[0])


def test_path_is_used_as_given(path: Path) -> None:
    path.write_bytes(WHOLE[0])
    for load in (data.load_mat_digits, data.load_mat_weights):
        with pytest.raises(FileNotFoundError):
            load(path.with_suffix(""))


# --- digits


def test_course_digits(shared_data: Path) -> None:
    X, y = data.load_mat_digits(shared_data / "ex4data1.mat")
    embedded_X, embedded_y = data.digits()
    assert_array_equal(X, embedded_X, strict=True)
    assert_array_equal(y, embedded_y, strict=True)
    assert X.flags.c_contiguous
    assert X.flags.writeable


@pytest.mark.parametrize("y", [[[10], [3]], [[10, 3]], [0, 3], np.array([[10], [3]], np.uint8)])
def test_labels_in_every_form(path: Path, y: object) -> None:
    path.write_bytes(mat(X=X2, y=y, note="passed over"))
    X, labels = data.load_mat_digits(path)
    assert_array_equal(X, X2)
    assert_array_equal(labels, np.array([0, 3]), strict=True)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"X": X2}, "has no y; it has X"),
        ({"x": X2, "Y": 1}, "has no X and no y; it has x, Y"),
        ({"X": X2, "y": [[1], [11]]}, r"the label at row 1 \(from 0\) is 11, wanted 0 to 10"),
        ({"X": X2, "y": [[-1], [1]]}, "row 0 .* is -1"),
        ({"X": X2, "y": [[1], [2.5]]}, "row 1 .* is 2.5"),
        ({"X": X2, "y": [[1], [np.nan]]}, r"y\[1, 0\] \(from 0\) is nan"),
        ({"X": X2 - np.inf, "y": [[1], [2]]}, r"X\[0, 0\] \(from 0\) is -inf"),
        ({"X": X2 * 1j, "y": [[1], [2]]}, "X is complex, wanted a full matrix of real numbers"),
        ({"X": np.array([1, "a"], object), "y": [[1], [2]]}, "X is a cell array"),
        ({"X": "text", "y": [[1], [2]]}, "X is text"),
        ({"X": csc_array(X2), "y": [[1], [2]]}, "X is a sparse matrix"),
        ({"X": np.zeros((2, 20, 20)), "y": [[1], [2]]}, r"X is an array of shape \(2, 20, 20\)"),
        ({"X": X2, "y": [[1], [2], [3]]}, r"y is \(3, 1\), X is \(2, 3\)"),
        ({"X": np.zeros((4, 3)), "y": [[1, 2], [3, 4]]}, r"y is \(2, 2\), X is \(4, 3\)"),
    ],
)
def test_refuses_digits(path: Path, variables: dict[str, object], message: str) -> None:
    path.write_bytes(mat(**variables))
    with pytest.raises(DataFormatError, match=message):
        data.load_mat_digits(path)


# --- weights


def test_course_weights(shared_data: Path) -> None:
    thetas = data.load_mat_weights(shared_data / "ex4weights.mat")
    course = scipy.io.loadmat(shared_data / "ex4weights.mat")
    for theta, name in zip(thetas, ("Theta1", "Theta2"), strict=True):
        assert_array_equal(theta, course[name], strict=True)
        assert theta.flags.c_contiguous


@given(units=st.lists(st.integers(1, 4), min_size=2, max_size=5), seed=st.integers(0, 2**32 - 1))
def test_weights_come_back_in_every_bit(tmp_path_factory: pytest.TempPathFactory, units: list[int], seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / "round trip"
    rng = np.random.default_rng(seed)
    thetas = [rng.standard_normal((n, m + 1)) for m, n in itertools.pairwise(units)]
    data.save_mat_weights(path, thetas)
    for again, theta in zip(data.load_mat_weights(path), thetas, strict=True):
        assert_array_equal(again, theta, strict=True)
    for k, theta in enumerate(thetas, 1):
        assert_array_equal(scipy.io.loadmat(path, appendmat=False)[f"Theta{k}"], theta)


def test_other_real_types_and_orders_are_saved_as_float64(path: Path) -> None:
    theta = np.arange(6, dtype=np.float32).reshape(2, 3)
    data.save_mat_weights(path, [np.asfortranarray(theta), [[1, 2, 3]]])
    loaded = scipy.io.loadmat(path)
    assert_array_equal(loaded["Theta1"], theta.astype(float), strict=True)
    assert_array_equal(loaded["Theta2"], np.array([[1.0, 2.0, 3.0]]), strict=True)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"W": np.eye(2)}, "has W; wanted Theta1, Theta2, ... without a gap"),
        ({"Theta2": np.eye(2)}, "has Theta2; wanted Theta1"),
        ({"Theta1": np.ones((2, 3)), "Theta3": np.ones((2, 3))}, "has Theta1, Theta3; wanted"),
        (
            {"Theta1": np.ones((401, 25)), "Theta2": np.ones((26, 10))},
            r"Theta1 is \(401, 25\) and Theta2 is \(26, 10\); Theta2 needs 402 columns",
        ),
        ({"Theta1": [[np.inf, 0.0]]}, r"Theta1\[0, 0\] \(from 0\) is inf"),
        ({"Theta1": [[1j, 0.0]]}, "Theta1 is complex"),
    ],
)
def test_refuses_weights(path: Path, variables: dict[str, object], message: str) -> None:
    path.write_bytes(mat(**variables))
    with pytest.raises(DataFormatError, match=message):
        data.load_mat_weights(path)


@pytest.mark.parametrize(
    ("thetas", "error", "message"),
    [
        ([], ShapeError, "thetas is empty"),
        (np.ones((2, 3)), ShapeError, r"Theta1 is \(3,\), wanted \(units, 1 \+ inputs\)"),
        ([np.ones((2, 3)), np.ones((2, 2))], ShapeError, "Theta2 needs 3 columns, the bias and the 2 units of Theta1"),
        ([np.ones((2, 3), complex)], TypeError, "Theta1 is complex128"),
        ([np.full((2, 3), np.nan)], ValueError, "Theta1 has a NaN"),
    ],
)
def test_does_not_save(path: Path, thetas: list[np.ndarray], error: type[Exception], message: str) -> None:
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        data.save_mat_weights(path, thetas)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["weights", "weights.mat", "weights.v1.0"])
def test_no_extension_is_added(tmp_path: Path, name: str) -> None:
    data.save_mat_weights(str(tmp_path / name), [np.ones((2, 3))])
    assert os.listdir(tmp_path) == [name]


def test_save_that_fails_in_the_middle_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.save_mat_weights(path, [np.ones((2, 3))])
    old = path.read_bytes()

    def half(file: io.BufferedWriter, _: object) -> None:
        file.write(old[:200])
        raise OSError("disk full")

    monkeypatch.setattr(scipy.io, "savemat", half)
    with pytest.raises(OSError, match="disk full"):
        data.save_mat_weights(path, [np.zeros((2, 3))])
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]

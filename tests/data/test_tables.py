"""Tables from strangers: read whole, or refused with the place."""

import contextlib
import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from tinygrad_fnn.data import load_csv_data, load_npz_data
from tinygrad_fnn.errors import DataFormatError

# --- npz -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write to again and again: Hypothesis does not renew the folder of a test between its examples."""
    return tmp_path_factory.mktemp("tables") / "file"


def packed(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


@given(
    X=hnp.arrays(
        st.sampled_from(["f4", "f8", ">f8", "f2", "i4", "u1", "?"]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    dtype=st.sampled_from(["i8", "u1", "f4", "f8", ">i2", "?"]),
    column=st.sampled_from([(-1,), (-1, 1), (1, -1)]),
    compressed=st.booleans(),
    fortran=st.booleans(),
)
def test_npz_reads_what_was_written(
    path: Path, X: np.ndarray, dtype: str, column: Any, compressed: bool, fortran: bool
) -> None:
    y = (np.arange(len(X)) % 3).astype(dtype)
    stored = np.asfortranarray(X) if fortran else X
    path.write_bytes(packed(compressed, X=stored, y=y.reshape(column) if len(y) else y, more=np.zeros(3)))
    examples, labels = load_npz_data(path)
    assert_array_equal(examples, X.astype(X.dtype.newbyteorder("=") if X.dtype.kind == "f" else "f8"), strict=True)
    assert_array_equal(labels, y.astype(np.int64), strict=True)
    assert examples.flags.writeable
    assert labels.flags.writeable


def test_npz_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.eye(2), label=[3.0, -1.0])
    X, y = load_npz_data(tmp_path / "a.npz", X="arr_0", y="label")
    assert_array_equal(X, np.eye(2))
    assert_array_equal(y, [3, -1])
    with pytest.raises(DataFormatError, match=r"has no array X and no y; it has label, arr_0. .*X=\.\.\., y=\.\.\."):
        load_npz_data(tmp_path / "a.npz")


class Spy:
    """An object whose unpickling would be noticed."""

    unpickled = False

    def __setstate__(self, state: object) -> None:
        Spy.unpickled = True

    def __getstate__(self) -> object:
        return 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.eye(2)}, "has no array y; it has X"),
        ({}, "has no array X and no y; it has none"),
        ({"X": np.array([Spy()] * 2), "y": [0, 1]}, "array X of dtype object, wanted real numbers; save it"),
        ({"X": np.eye(2), "y": np.array(["a", "b"])}, "array y of dtype <U1"),
        ({"X": np.eye(2) * 1j, "y": [0, 1]}, "array X of dtype complex128"),
        ({"X": np.zeros(2, "i4,f8"), "y": [0, 1]}, "array X of dtype .*wanted real numbers"),
        ({"X": 3.0, "y": [0, 1]}, "X is a single number"),
        ({"X": [[1.0, np.nan]], "y": [0]}, r"X\[0, 1\] \(from 0\) is nan"),
        ({"X": [[[1.0], [np.inf]]], "y": [0]}, r"X\[0, 1, 0\] \(from 0\) is inf"),
        ({"X": np.eye(2), "y": [0, 1, 2]}, r"y is \(3,\), X is \(2, 2\)"),
        ({"X": np.eye(4), "y": np.eye(2)}, r"y is \(2, 2\), X is \(4, 4\)"),
        ({"X": np.eye(2), "y": 1}, r"y is \(\), X is \(2, 2\)"),
        ({"X": np.eye(2), "y": [0, 0.5]}, r"y\[1\] \(from 0\) is 0.5, wanted a whole number"),
        ({"X": np.eye(2), "y": [np.nan, 0]}, r"y\[0\] \(from 0\) is nan"),
        ({"X": np.eye(2), "y": [0, np.inf]}, r"y\[1\] \(from 0\) is inf"),
        ({"X": np.eye(2), "y": [0, 1e19]}, r"y\[1\] \(from 0\) is 1e\+19"),
        ({"X": np.eye(2), "y": np.array([0, 2**63], "u8")}, r"y\[1\] \(from 0\) is 9223372036854775808"),
    ],
)
def test_npz_refuses(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    (tmp_path / "a.npz").write_bytes(packed(**arrays))
    with pytest.raises(DataFormatError, match=message) as caught:
        load_npz_data(tmp_path / "a.npz")
    assert str(caught.value).startswith(f"load_npz_data: {tmp_path / 'a.npz'}")
    assert not Spy.unpickled


def test_npz_is_not_npy_nor_text(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(2))
    (tmp_path / "a.csv").write_text("1,2\n")
    for name in ("a.npy", "a.csv"):
        with pytest.raises(DataFormatError, match=r"is no \.npz file, or damaged"):
            load_npz_data(tmp_path / name)


def lying(shape: str, descr: str = "'<f8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(16)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("X.npy", member)
        archive.writestr("y.npy", member)
    return file.getvalue()


@pytest.mark.parametrize(
    ("shape", "descr", "message"),
    [
        ("(1000000000000,)", "'<f8'", "more than the file can hold"),
        ("(2, 10000000000, 0)", "'<f8'", "is not the 0 bytes"),
        ("(-2,)", "'<f8'", "more than the file can hold"),
        ("(3,)", "'<f8'", "is not the 24 bytes"),
        ("(1,)", "'<f8'", "is not the 8 bytes"),
        ("(2.0,)", "'<f8'", "has a damaged array X"),
        ("2", "'<f8'", "has a damaged array X"),
        ("(2,)", "'nonsense'", "has a damaged array X"),
        ("(2,)", "__import__('os')", "has a damaged array X"),
    ],
)
def test_npz_a_lie_in_a_header_costs_no_memory(tmp_path: Path, shape: str, descr: str, message: str) -> None:
    (tmp_path / "a.npz").write_bytes(lying(shape, descr))
    tracemalloc.start()
    try:
        with pytest.raises(DataFormatError, match=message):
            load_npz_data(tmp_path / "a.npz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@given(compressed=st.booleans(), draw=st.data())
def test_npz_changed_files_are_refused_or_read(path: Path, compressed: bool, draw: st.DataObject) -> None:
    content = bytearray(packed(compressed, X=np.eye(3), y=np.arange(3)))
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(content)))
        content[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    path.write_bytes(content)
    with contextlib.suppress(DataFormatError):
        load_npz_data(path)


# --- text ------------------------------------------------------------------------------------------------------------

VALUES = np.array([[1.5, -2.0, 3e-5], [0.1, 1e300, 7.25]])


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("1.5,-2,3e-5,4\n.1,1e300,7.25,5\n", {}),
        ("1.5,-2,3e-5,4\r\n.1,1e300,7.25,5", {}),
        ("1.5,-2,3e-5,4\r.1,1e300,7.25,5\r", {}),
        ("\ufeff1.5,-2,3e-5,4\n.1,1e300,7.25,5\n", {}),
        ("\ufeffa,b,c,kind\n1.5,-2,3e-5,4\n.1,1e300,7.25,5\n", {}),
        ("a;b;c;kind\n1.5;-2;3e-5;4\n.1;1e300;7.25;5\n", {"label": "kind"}),
        ("4\t1.5\t-2\t3e-5\n5\t.1\t1e300\t7.25\n", {"label": 0}),
        ("kind a b c\n4  1.5 -2 3e-5\n5 .1   1e300 7.25\n", {"label": "kind"}),
        (" 4   1.5 -2 3e-5  \n5 .1   1e300 7.25\n", {"label": -4}),
        ("1.5|4.0|-2|3e-5\n.1|5.0|1e300|7.25\n", {"label": 1, "delimiter": "|"}),
        ('"a, b";"4";c;d\n"1.5"; 4; -2 ;"3e-5"\n.1;5;1e300;7.25\n', {"label": "4", "header": True}),
        ("# made by hand\n\n1.5,-2,3e-5,4\n  \n# the rest\n.1,1e300,7.25,5\n\n", {}),
        ("0,1,2,3\n1.5,-2,3e-5,4\n.1,1e300,7.25,5\n", {"header": True}),
        ("0,1,2,3\n1.5,-2,3e-5,4\n.1,1e300,7.25,5\n", {"header": True, "label": "3"}),
        ("label,0,1,2\n4,1.5,-2,3e-5\n5,.1,1e300,7.25\n", {"label": "label"}),
        ("1.5,-2,3e-5,4\n.1,1e300,7.25,5\n", {"header": False}),
        ("1,5;2\n", {"delimiter": ",", "header": True, "label": 0}),
    ],
)
def test_csv_forms(tmp_path: Path, text: str, keywords: Any) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    if text == "1,5;2\n":
        with pytest.raises(DataFormatError, match="a header and no line"):
            load_csv_data(tmp_path / "a.csv", **keywords)
        return
    X, y = load_csv_data(tmp_path / "a.csv", **keywords)
    assert_array_equal(X, VALUES, strict=True)
    assert_array_equal(y, np.array([4, 5]), strict=True)


@given(
    X=hnp.arrays("f8", st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.floats(-1e300, 1e300)),
    seed=st.integers(0, 99),
    delimiter=st.sampled_from([",", ";", "\t", " "]),
    label=st.sampled_from([0, -1]),
)
def test_csv_reads_what_was_written(path: Path, X: np.ndarray, seed: int, delimiter: str, label: int) -> None:
    y = np.random.default_rng(seed).integers(-9, 9, len(X))
    rows = [[repr(float(v)) for v in row] for row in X]
    for row, value in zip(rows, y.tolist(), strict=True):
        row.insert(0 if label == 0 else len(row), str(value))
    path.write_text("\n".join(delimiter.join(row) for row in rows))
    for given_delimiter in (None, delimiter):
        examples, labels = load_csv_data(path, label=label, delimiter=given_delimiter)
        assert_array_equal(examples, X, strict=True)
        assert_array_equal(labels, y, strict=True)


@pytest.mark.parametrize(
    ("text", "keywords", "message"),
    [
        ("", {}, "has no line with an example"),
        ("\n# nothing\n", {}, "has no line with an example"),
        ("a,b\n", {}, "has a header and no line with an example"),
        ("a,b\n1,2\n3,x\n", {"label": 0}, "has 'x' in line 3, column 2, wanted a finite number$"),
        ("a,b\n1,2\n\n# note\n3,x\n", {"label": 0}, "has 'x' in line 5, column 2"),
        ("a,kind\n1,setosa\n", {}, "has 'setosa' in line 2, column 2, .*; number the classes"),
        ("1,2\n3,\n", {"label": 0}, "has '' in line 2, column 2"),
        ("1,2\n3,nan\n", {"label": 0}, "has 'nan' in line 2, column 2"),
        ("1,2\n3,-inf\n", {"label": 0}, "has '-inf' in line 2, column 2"),
        ("1,2\n3,1e999\n", {"label": 0}, "has '1e999' in line 2, column 2"),
        ("1,2\n3,1_0\n", {"label": 0}, "has '1_0' in line 2, column 2"),
        ("1,2\n3,٣\n", {"label": 0}, "has '٣' in line 2, column 2"),
        ("1,2\n3\n", {}, "has 1 cells in line 2, wanted 2"),
        ("1,2\n3,4,5\n", {}, "has 3 cells in line 2, wanted 2"),
        ("a,b,c\n1,2\n3,4\n", {}, "has 2 cells in line 2, wanted 3"),
        ("1,2\n1,0.5\n", {}, "has the label 0.5 in line 2, column 2, wanted a whole number; is label the right column"),
        ("1,2\n1,1e19\n", {}, r"has the label 1e\+19 in line 2"),
        ("1\n2\n", {}, "has one column, wanted features and a label; is delimiter right"),
        ("1;2\n", {"delimiter": ","}, "has one column"),
        ("1,2\n", {"label": 2}, "has 2 columns, but label is 2"),
        ("1,2\n", {"label": -3}, "has 2 columns, but label is -3"),
        ("1,2\n", {"label": "kind"}, "has no header, .* 'kind'; give its number"),
        ("a,b\n1,2\n", {"label": "kind"}, "has no columns named 'kind'; they are a, b"),
        ("a,a\n1,2\n", {"label": "a"}, "has 2 columns named 'a'"),
        (",".join("abcdefghijklmn") + "\n", {"label": "z"}, r"they are a, b, c, d, e, \.\.\., j, k, l, m, n"),
        ("5.1,oops,0\n5.2,1.0,1\n", {}, "has 'oops' in line 1, column 2"),
        ("5.1,,0\n5.2,1.0,1\n", {}, "has '' in line 1, column 2"),
        ("a,b\n1,2\n", {"header": False}, "has 'a' in line 1, column 1"),
        ("1,5;2\n1,6;3\n", {}, "has '1,5' in line 1, column 1, wanted a finite number; write a decimal comma"),
        ('1,"2\n3,4\n', {}, "cannot be read: could not convert"),
        ('1,"2\n"\n3,4\n', {}, "has 1 cells in line 2, wanted 2"),
    ],
)
def test_csv_refuses(tmp_path: Path, text: str, keywords: Any, message: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataFormatError, match=message) as caught:
        load_csv_data(tmp_path / "a.csv", **keywords)
    assert str(caught.value).startswith(f"load_csv_data: {tmp_path / 'a.csv'} ")


def test_csv_refuses_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1,2\n\xff\xfe,3\n")
    with pytest.raises(DataFormatError, match="is no text in UTF-8: invalid start byte at byte 4"):
        load_csv_data(tmp_path / "a.csv")


@given(content=st.binary(max_size=40) | st.text("0123456789.,;\t \n\r\"'#eE-+naif\0", max_size=40).map(str.encode))
def test_csv_arbitrary_bytes_are_refused_or_read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(DataFormatError):
        X, y = load_csv_data(path)
        assert np.isfinite(X).all()
        assert len(X) == len(y) > 0


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"label": 1.0}, TypeError, "label is a float, wanted a column's number or name"),
        ({"label": True}, TypeError, "label is a bool"),
        ({"label": None}, TypeError, "label is a NoneType"),
        ({"delimiter": 3}, TypeError, "delimiter is a int"),
        ({"delimiter": ""}, ValueError, "delimiter is '', wanted one character"),
        ({"delimiter": ", "}, ValueError, "delimiter is ', '"),
        ({"delimiter": "#"}, ValueError, "delimiter is '#'"),
        ({"delimiter": "\n"}, ValueError, "delimiter is"),
        ({"header": "infer"}, TypeError, "header is 'infer'"),
        ({"header": 1}, TypeError, "header is 1"),
    ],
)
def test_csv_refuses_wrong_options(tmp_path: Path, keywords: Any, error: type[Exception], message: str) -> None:
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(error, match=message):
        load_csv_data(tmp_path / "a.csv", **keywords)


def test_npz_with_a_name_that_is_no_text_is_refused(path: Path) -> None:
    content = packed(False, X=np.eye(3), y=np.arange(3))
    # The flag that says UTF-8, in the directory's first entry, and a name that is not.
    at = content.index(b"PK\x01\x02")
    flagged = bytearray(content)
    flagged[at + 8 : at + 10] = (0x800).to_bytes(2, "little")
    flagged[at + 46] = 0xFF
    path.write_bytes(flagged)
    with pytest.raises(DataFormatError, match="load_npz_data"):
        load_npz_data(path)


def test_an_array_that_unpacks_to_more_than_max_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", X=np.zeros((4000, 500)), y=np.zeros(4000, int))
    tracemalloc.start()
    try:
        with pytest.raises(DataFormatError, match=r"X of 16000000 bytes.*max_bytes is 1000000"):
            load_npz_data(tmp_path / "bomb.npz", max_bytes=10**6)
        assert tracemalloc.get_traced_memory()[1] < 2e6  # zipfile's own buffers
    finally:
        tracemalloc.stop()
    assert load_npz_data(tmp_path / "bomb.npz")[0].shape == (4000, 500)

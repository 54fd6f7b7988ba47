"""What `save` is given, `load` gives back; what cannot be stored or is no such file is refused, by name."""

import collections
import contextlib
import io
import json
import math
import os
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_fnn
from tinygrad_fnn import Tensor
from tinygrad_fnn.errors import DataFormatError, MissingExtraError
from tinygrad_fnn.nn import Linear, Parameter, Sequential, Sigmoid
from tinygrad_fnn.serialize import archive as archives
from tinygrad_fnn.serialize import load, save


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, types and layout included."""
    if isinstance(one, np.generic) and isinstance(other, np.generic):  # int64 has two types where long is long long
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return (
            list(one) == list(other)
            and all(type(a) is type(b) for a, b in zip(one, other, strict=True))
            and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        layout = one.flags.f_contiguous == other.flags.f_contiguous or not one.flags.forc
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()) and layout
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    return bool(one == other)


def through(obj: Any, path: Path, **options: Any) -> Any:
    save(obj, path, **options)
    return load(path)


DTYPES = [np.dtype(order + c) for c in np.typecodes["All"] if c in "?bBhHiIlLqQefdFD" for order in "<>"]
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
keys = st.text(max_size=5) | st.integers()
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
    arrays,
    arrays.map(np.asfortranarray),
    arrays.filter(lambda a: a.size > 0).map(lambda a: a.ravel()[0]),
)
objects = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4).filter(lambda d: len({str(k) for k in d}) == len(d))
    ),
    max_leaves=8,
)


@given(objects, st.booleans())
def test_every_object_comes_back_and_has_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, obj: Any, compress: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "object"
    assert same(through(obj, path, compress=compress), obj)
    before = path.read_bytes()
    save(load(path), path, compress=compress)
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_table_of_dtypes_has_what_every_machine_has(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    obj = np.arange(6).reshape(2, 3).astype(dtype)
    back = through(obj, tmp_path / "x")
    assert same(back, obj)
    assert back.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(4, 6)[::2, ::-3],
        np.broadcast_to(np.float32(2), (3, 2)),
        np.arange(6).reshape(2, 3).T,
        np.zeros((0, 3)),
        np.array(7),
        np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0),
        np.zeros((1,) * 64),
    ],
    ids=["strided", "broadcast", "transposed", "empty", "0-d", "permuted", "64 axes"],
)
@pytest.mark.parametrize("compress", [False, True])
def test_layouts(tmp_path: Path, array: np.ndarray, compress: bool) -> None:
    back = through(array, tmp_path / "x", compress=compress)
    np.testing.assert_array_equal(back, array, strict=True)
    assert back.flags.writeable
    assert back.flags.c_contiguous or array.flags.f_contiguous


def test_extremes_of_numbers(tmp_path: Path) -> None:
    obj = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, 0.1, 2**8000, -(2**64), True, 1]
    assert same(through(obj, tmp_path / "x"), obj)


def test_nan_payload_of_an_array_is_kept(tmp_path: Path) -> None:
    bits = np.array([0x7FF8000000000123], np.uint64)
    assert through(bits.view(float), tmp_path / "x").view(np.uint64) == bits


def test_path_is_used_exactly_as_given(tmp_path: Path) -> None:
    save([1], tmp_path / "model")
    save([2], str(tmp_path / "model.θ"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model.θ"]


def test_tensors_become_arrays_of_their_values(tmp_path: Path) -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    back = through({"x": x, "y": x * 2, "p": Parameter([3.0])}, tmp_path / "x")
    wanted = {"x": np.array([1.0, 2.0]), "y": np.array([2.0, 4.0]), "p": np.array([3.0])}
    assert same(back, wanted)


def test_state_of_a_network(tmp_path: Path) -> None:
    net, other = (Sequential(Linear(4, 3, rng=k), Sigmoid(), Linear(3, 2, rng=k)) for k in range(2))
    other.load_state_dict(through(net.state_dict(), tmp_path / "net.npz"))
    assert same(other.state_dict(), net.state_dict())


def test_other_mappings_become_dicts(tmp_path: Path) -> None:
    assert same(through(collections.OrderedDict(a=1), tmp_path / "x"), {"a": 1})


def test_same_array_twice_shares_nothing_afterwards(tmp_path: Path) -> None:
    x = np.zeros(3)
    a, b = through([x, x], tmp_path / "x")
    a[0] = 1
    assert b[0] == 0


def test_compression_makes_zeros_small(tmp_path: Path) -> None:
    save(np.zeros(100_000), tmp_path / "plain")
    save(np.zeros(100_000), tmp_path / "packed", compress=True)
    assert (tmp_path / "plain").stat().st_size > 800_000 > 8_000 > (tmp_path / "packed").stat().st_size


def test_numpy_reads_it_without_pickle(tmp_path: Path) -> None:
    save({"layers.0.W": np.eye(2), "nested": [np.arange(3)], "..": {"/etc": np.ones(1)}}, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert file.files == ["structure.json", "layers.0.W", "nested/0", "%2E%2E/%2Fetc"]
        np.testing.assert_array_equal(file["layers.0.W"], np.eye(2))
        structure = json.loads(file["structure.json"])
    assert structure["version"] == 1
    assert structure["package"] == tinygrad_fnn.__version__


def test_unpacked_by_anybody_stays_in_its_folder(tmp_path: Path) -> None:
    names = ["", ".", "..", "...", "/", "a/b", "\\", "C:", "\0", "~", "ä", "\ud800", "%", "%2E", "-"]
    save({name: np.ones(1) for name in names}, tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x") as file:
        listed = file.namelist()
    assert len(set(listed)) == len(names) + 1
    for name in listed[1:]:
        assert re.fullmatch(r"[A-Za-z0-9_.~%-]+\.npy", name), name
        assert name.removesuffix(".npy").strip("."), name


# --- what cannot be stored --------------------------------------------------------------------------------------------


class Named(collections.namedtuple("Named", "x")):
    pass


Circle: list[Any] = []
Circle.append(Circle)

UNSTORABLE: dict[str, tuple[Any, type[Exception], str]] = {
    "object array": ({"a": np.array([None])}, TypeError, r"save: obj\['a'\] has dtype object"),
    "text array": ([np.array(["x"])], TypeError, r"save: obj\[0\] has dtype <U1.*list of str"),
    "longdouble": (np.ones(1, np.longdouble), TypeError, r"save: obj has dtype (float128|longdouble)"),
    "structured": (np.zeros(1, "i4,f8"), TypeError, "has dtype"),
    "datetime": (np.datetime64("2020"), TypeError, "has dtype datetime64"),
    "masked": (np.ma.ones(2), TypeError, "is a MaskedArray, wanted a plain array"),
    "function": ({"a": {"f": math.sin}}, TypeError, r"obj\['a'\]\['f'\] is a builtin_function_or_method; wanted"),
    "set": ([{1}], TypeError, r"obj\[0\] is a set; wanted arrays"),
    "bytes": (b"x", TypeError, "obj is a bytes"),
    "complex": (1j, TypeError, "obj is a complex"),
    "namedtuple": (Named(1), TypeError, "obj is a Named; .* no subclasses"),
    "key": ({(1, 2): 3}, TypeError, r"obj has the key \(1, 2\); wanted a str or an int"),
    "bool key": ({True: 3}, TypeError, "obj has the key True"),
    "module": (Linear(2, 2), TypeError, r"obj is a Linear; .*save\(x.state_dict\(\), path\)"),
    "generator": (np.random.default_rng(0), TypeError, "obj is a Generator; pass rng.bit_generator.state"),
    "circle": (Circle, ValueError, "nested more than 64 deep; does it contain itself"),
    "huge int": ([1 << 9000], ValueError, r"obj\[0\] is an int of more than 8192 bits"),
    "one name twice": ({1: np.ones(1), "1": np.ones(1)}, ValueError, r"obj\['1'\] has the name of another array"),
    "long name": ({"x" * 5000: np.ones(1)}, ValueError, "has too long a name"),
    "too much text": (["x" * (17 << 20)], ValueError, "without its arrays obj takes .* put long lists"),
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_what_cannot_be_stored_is_named_and_the_old_file_is_kept(tmp_path: Path, case: str) -> None:
    obj, kind, message = UNSTORABLE[case]
    save("old", tmp_path / "x")
    with pytest.raises(kind, match=message):
        save(obj, tmp_path / "x")
    assert load(tmp_path / "x") == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_deepest_object(tmp_path: Path) -> None:
    obj: Any = np.ones(1)
    for _ in range(32):
        obj = ({"k": obj},)
    assert same(through(obj, tmp_path / "x"), obj)


def test_arguments_in_the_wrong_order(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"save: path is a dict, .*save\(obj, path\)"):
        save(str(tmp_path / "x"), {"a": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="load: path is a list"):
        load([])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format is 'pickle', wanted 'npz' or 'safetensors'"):
        save({}, tmp_path / "x", format="pickle")  # type: ignore[arg-type]


# --- what is no such file ---------------------------------------------------------------------------------------------


def npy(array: np.ndarray, **header: Any) -> bytes:
    """A .npy file, with another header than its data deserve."""
    file = io.BytesIO()
    given = np.lib.format.header_data_from_array_1_0(array) | header
    np.lib.format.write_array_header_1_0(file, given)
    return file.getvalue() + array.tobytes()


def forged(path: Path, node: Any, entries: dict[str, bytes] | None = None, **head: Any) -> None:
    """A file whose checksums are right, with any structure and any entries."""
    text = {"format": "tinygrad_fnn", "version": 1, "package": "0", "object": node} | head
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("structure.json", json.dumps(text))
        for name, data in (entries or {}).items():
            file.writestr(name, data)


def raw_header(text: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


ONE = {"array": "arr_0"}
X = np.arange(3.0)
STRUCTURES: dict[str, tuple[Any, dict[str, bytes]]] = {
    "entry missing": (ONE, {}),
    "entry not named": (None, {"arr_0.npy": npy(X)}),
    "entry named twice": ([{"array": "0"}, {"array": "0"}], {"0.npy": npy(X)}),
    "name of another place": ([{"array": "1"}], {"1.npy": npy(X)}),
    "name of another entry": ([{"array": "1"}], {"0.npy": npy(X)}),
    "name outside": ([{"array": "../x"}], {"../x.npy": npy(X)}),
    "absolute name": ([{"array": "/x"}], {"/x.npy": npy(X)}),
    "no npy": (ONE, {"arr_0.npy": b"junk"}),
    "empty entry": (ONE, {"arr_0.npy": b""}),
    "npy 2.0": (ONE, {"arr_0.npy": npy(X).replace(b"\x01\x00", b"\x02\x00", 1)}),
    "header beyond entry": (ONE, {"arr_0.npy": b"\x93NUMPY\x01\x00\xff\xff{}"}),
    "pickle": (ONE, {"arr_0.npy": npy(X, descr="|O")}),
    "text": (ONE, {"arr_0.npy": npy(X, descr="<U2")}),
    "void": (ONE, {"arr_0.npy": npy(X, descr="|V8")}),
    "structured": (ONE, {"arr_0.npy": npy(X, descr=[("a", "<f8")])}),
    "longdouble": (ONE, {"arr_0.npy": npy(X, descr="<f16")}),
    "too large": (ONE, {"arr_0.npy": npy(X, shape=(4,))}),
    "too small": (ONE, {"arr_0.npy": npy(X, shape=(2,))}),
    "large": (ONE, {"arr_0.npy": npy(X, shape=(2**26,))}),
    "huge": (ONE, {"arr_0.npy": npy(X, shape=(2**61,))}),
    "wraps around": (ONE, {"arr_0.npy": npy(X, shape=(2**61, 2**61, 2**61))}),
    "empty and impossible": (ONE, {"arr_0.npy": npy(X[:0], shape=(0, 2**62))}),
    "negative": (ONE, {"arr_0.npy": npy(X, shape=(-3,))}),
    "negative twice": (ONE, {"arr_0.npy": npy(X, shape=(-3, -1))}),
    "65 axes": (ONE, {"arr_0.npy": npy(X[:1], shape=(1,) * 65)}),
    "digits": (
        ONE,
        {"arr_0.npy": raw_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }\n" % (b"9" * 99))},
    ),
    "NaN length": (ONE, {"arr_0.npy": raw_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (nan,), }\n")}),
    "float length": (ONE, {"arr_0.npy": raw_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (3.0,), }\n")}),
    "code": (
        ONE,
        {"arr_0.npy": raw_header(b"{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (), }\n")},
    ),
    "deep header": (ONE, {"arr_0.npy": raw_header(b"(" * 60_000)}),
    "bool of 2": (ONE, {"arr_0.npy": npy(np.array([0, 1, 2], np.uint8), descr="|b1")}),
    "scalar of 3": ({"scalar": "arr_0"}, {"arr_0.npy": npy(X)}),
    "unknown tag": ({"pickle": "x"}, {}),
    "no tag": ({}, {}),
    "two tags": ({"dict": [], "tuple": []}, {}),
    "tag of a number": ({"tuple": 3}, {}),
    "float": ({"float": "1e5"}, {}),
    "pair": ({"dict": [["a", 1, 2]]}, {}),
    "key": ({"dict": [[[], 1]]}, {}),
    "key of bool": ({"dict": [[True, 1]]}, {}),
    "key twice": ({"dict": [["a", 1], ["a", 2]]}, {}),
    "name is a number": ({"array": 0}, {"0.npy": npy(X)}),
    "NaN": (math.nan, {}),
    "infinity": ([-math.inf], {}),
}


def refused(path: Path, message: str = "", **options: Any) -> None:
    with pytest.raises(DataFormatError, match=re.escape(f"load: {path} ") + message):
        load(path, **options)


@pytest.mark.parametrize("case", STRUCTURES)
def test_forged_content_is_refused_before_memory_is_taken(tmp_path: Path, case: str) -> None:
    forged(tmp_path / "x", *STRUCTURES[case])
    tracemalloc.start()
    try:
        refused(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20  # the files have less than 64 KiB


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 200_000, b"9" * 10_000, b"null", b"3"])
def test_damaged_json_is_refused(tmp_path: Path, text: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as file:
        file.writestr("structure.json", text + b" " * 60)  # shorter than any true one else
    refused(tmp_path / "x", "has a (damaged )?structure")


def test_deep_structure_is_refused(tmp_path: Path) -> None:
    node: Any = 1
    for _ in range(200):
        node = [node]
    forged(tmp_path / "x", node)
    refused(tmp_path / "x", "has a structure that is not one of save")


def test_oversized_structure_is_refused(tmp_path: Path) -> None:
    forged(tmp_path / "x", " " * archives.MAX_TEXT)
    refused(tmp_path / "x", "has a structure.json of")


def test_newer_version_says_so(tmp_path: Path) -> None:
    forged(tmp_path / "x", 1, version=2, package="7.0.0")
    refused(tmp_path / "x", r"has version 2 of the format, written by tinygrad_fnn 7\.0\.0; this package reads up to 1")


@pytest.mark.parametrize(
    "head", [{"version": "1"}, {"version": 0}, {"version": True}, {"format": "other"}, {"more": 1}], ids=str
)
def test_other_heads_are_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    forged(tmp_path / "x", 1, **head)
    refused(tmp_path / "x", "has a structure that is not one of save")


FILES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("epoch,loss\n"),
    "npy": lambda path: path.write_bytes(npy(X)),
    "pickle": lambda path: path.write_bytes(b"cos\nabort\n(tR."),
    "numpy.savez": lambda path: path.write_bytes(savez()),
    "empty zip": lambda path: zipfile.ZipFile(path, "w").close(),
    "one byte more": lambda path: whole(path, lambda data: data + b"\0"),
    "one byte before": lambda path: whole(path, lambda data: b"\0" + data),
    "twice": lambda path: whole(path, lambda data: data + data),
    "half": lambda path: whole(path, lambda data: data[: len(data) // 2]),
    "comment": lambda path: comment(path),
    "packed structure": lambda path: packed_structure(path),
}


def savez() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=X)
    return file.getvalue()


def whole(path: Path, change: Callable[[bytes], bytes]) -> None:
    save({"a": X}, path)
    path.write_bytes(change(path.read_bytes()))


def comment(path: Path) -> None:
    save({"a": X}, path)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"c"


def packed_structure(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("structure.json", '{"format":"tinygrad_fnn","version":1,"package":"0","object":1}')


@pytest.mark.parametrize("case", FILES)
def test_other_files_are_refused(tmp_path: Path, case: str) -> None:
    FILES[case](tmp_path / "x")
    refused(tmp_path / "x")


def test_files_of_savez_are_pointed_to_numpy(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(savez())
    refused(tmp_path / "x", r"has no structure\.json.*numpy\.load")


def test_forger_is_right_when_it_tells_the_truth(tmp_path: Path) -> None:
    """Without this the tests above might refuse for another reason."""
    forged(tmp_path / "x", {"dict": [["a", ONE | {"array": "a"}]]}, {"a.npy": npy(X)})
    assert same(load(tmp_path / "x"), {"a": X})


# --- archives, byte by byte -------------------------------------------------------------------------------------------


def bomb(path: Path, size: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        node = {"format": "tinygrad_fnn", "version": 1, "package": "0", "object": ONE}
        file.writestr("structure.json", json.dumps(node), zipfile.ZIP_STORED)
        file.writestr("arr_0.npy", npy(np.zeros(size, np.uint8)))


def test_bomb_is_refused_and_the_bound_can_be_moved(tmp_path: Path) -> None:
    size = 8 << 20
    bomb(tmp_path / "x", size)
    assert (tmp_path / "x").stat().st_size < 10_000
    tracemalloc.start()
    try:
        refused(tmp_path / "x", r"unpacks to \d+ bytes from \d+; the bound is 1048576.*max_bytes=", max_bytes=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    assert load(tmp_path / "x").size == size
    with pytest.raises(DataFormatError):
        load(tmp_path / "x", max_bytes=size)  # the structure counts as well
    assert load(tmp_path / "x", max_bytes=size + 1000).size == size


def test_bound_grows_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_fnn.serialize import saving

    monkeypatch.setattr(saving, "LEAST_BOUND", 0)
    bomb(tmp_path / "x", 8 << 20)
    refused(tmp_path / "x", "unpacks to")
    save(np.zeros(1 << 20), tmp_path / "x")
    assert load(tmp_path / "x").size == 1 << 20


def directory_of(data: bytearray) -> tuple[int, int]:
    """Where the directory begins, and where its second entry does."""
    start = int(struct.unpack_from("<L", data, len(data) - 6)[0])
    named, extra = struct.unpack_from("<2H", data, start + 28)
    return start, start + 46 + named + extra


LIES: dict[str, Callable[[bytearray, int], object]] = {  # what is done to the second entry of the directory, at `k`
    "size": lambda data, k: struct.pack_into("<L", data, k + 24, 2**31),
    "packed size": lambda data, k: struct.pack_into("<L", data, k + 20, 2**31),
    "both sizes": lambda data, k: struct.pack_into("<2L", data, k + 20, 2**31, 2**31),
    "one byte less": lambda data, k: struct.pack_into("<2L", data, k + 20, 8 * 1000 + 127, 8 * 1000 + 127),
    "zip64 without the extra field": lambda data, k: struct.pack_into("<L", data, k + 24, 2**32 - 1),
    "offset of the first": lambda data, k: struct.pack_into("<L", data, k + 42, 0),
    "offset outside": lambda data, k: struct.pack_into("<L", data, k + 42, 2**32 - 2),
    "method": lambda data, k: struct.pack_into("<H", data, k + 10, 8),
    "unknown method": lambda data, k: struct.pack_into("<H", data, k + 10, 12),
    "encrypted": lambda data, k: struct.pack_into("<H", data, k + 8, 1),
    "checksum": lambda data, k: struct.pack_into("<L", data, k + 16, 0),
    "name": lambda data, k: struct.pack_into("<B", data, k + 46, ord("z")),
    "length of the name": lambda data, k: struct.pack_into("<H", data, k + 28, 1),
    "length of the extra field": lambda data, k: struct.pack_into("<H", data, k + 30, 60_000),
    "comment": lambda data, k: struct.pack_into("<H", data, k + 32, 5),
    "count": lambda data, k: struct.pack_into("<2H", data, len(data) - 14, 9, 9),
    "count one less": lambda data, k: struct.pack_into("<2H", data, len(data) - 14, 1, 1),
    "counts differ": lambda data, k: struct.pack_into("<H", data, len(data) - 12, 9),
    "many": lambda data, k: struct.pack_into("<2H", data, len(data) - 14, 0xFFFE, 0xFFFE),
    "size of the directory": lambda data, k: struct.pack_into("<L", data, len(data) - 10, 2**31),
    "offset of the directory": lambda data, k: struct.pack_into("<L", data, len(data) - 6, 2**31),
    "zip64": lambda data, k: struct.pack_into("<L", data, len(data) - 6, 2**32 - 1),
    "disks": lambda data, k: struct.pack_into("<H", data, len(data) - 18, 1),
}


LOCAL_LIES: dict[str, tuple[int, bytes]] = {  # what is written, and where in the header before the data
    "signature": (0, b"PK\1\2"),
    "flags": (6, b"\1\0"),
    "method": (8, b"\10\0"),
    "length of the name": (26, b"\4\0"),
    "length of the extra field": (28, b"\1\0"),
    "name": (30, b"z"),
}


@pytest.mark.parametrize("lie", LOCAL_LIES)
def test_headers_that_contradict_the_directory_are_refused(tmp_path: Path, lie: str) -> None:
    save({"a": np.zeros(1000)}, tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    at = struct.unpack_from("<L", data, directory_of(data)[1] + 42)[0]
    place, new = LOCAL_LIES[lie]
    data[at + place : at + place + len(new)] = new
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", "is truncated, damaged")


@pytest.mark.parametrize("lie", LIES)
def test_directories_that_lie_are_refused(tmp_path: Path, lie: str) -> None:
    save({"a": np.zeros(1000)}, tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    LIES[lie](data, directory_of(data)[1])
    (tmp_path / "x").write_bytes(data)
    tracemalloc.start()
    try:
        refused(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as file:
        for _ in range(2):
            file.writestr("structure.json", '{"format":"tinygrad_fnn","version":1,"package":"0","object":1}')
    refused(tmp_path / "x")


def entry(name: bytes, content: bytes, packed: bytes | None = None, size: int | None = None) -> tuple[bytes, bytes]:
    """What stands in the archive and, up to its offset, in the directory, with right checksums."""
    method, data = (0, content) if packed is None else (8, packed)
    known = struct.pack(
        "<5H3L2H", 20, 0, method, 0, 33, zlib.crc32(content), len(data), size or len(content), len(name), 0
    )
    return b"PK\3\4" + known + name + data, b"PK\1\2\x14\0" + known + bytes(10)


def archive(bodies: list[bytes], listed: list[tuple[bytes, bytes, int]], flood: bytes = b"") -> bytes:
    """Bodies, a directory of (record, name, offset), and an end that fits them."""
    body = b"".join(bodies)
    directory = b"".join(record + struct.pack("<L", at) + name for record, name, at in listed) + flood
    return body + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[len(listed)] * 2, len(directory), len(body), 0)


TEXT = b'{"format":"tinygrad_fnn","version":1,"package":"0","object":{"array":"arr_0"}}'


def deflated(content: bytes) -> bytes:
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    return kernel.compress(content) + kernel.flush()


@pytest.mark.parametrize("trailing", [0, 1, 5, 3 << 20])
def test_bytes_after_packed_data_are_refused(tmp_path: Path, trailing: int) -> None:
    text, text_listed = entry(b"structure.json", TEXT)
    content = npy(X)
    body, listed = entry(b"arr_0.npy", content, deflated(content) + bytes(trailing))
    where = [(text_listed, b"structure.json", 0), (listed, b"arr_0.npy", len(text))]
    (tmp_path / "x").write_bytes(archive([text, body], where))
    if trailing:
        refused(tmp_path / "x", "has a damaged entry arr_0.npy")
    else:
        assert same(load(tmp_path / "x"), X)


def test_bytes_after_the_last_piece_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packed data end where a piece does, so what follows has not been read by then."""
    monkeypatch.setattr(archives, "_PIECE", len(deflated(npy(X))))
    test_bytes_after_packed_data_are_refused(tmp_path, 5)


def test_packed_data_without_an_end_are_refused(tmp_path: Path) -> None:
    """All its bytes come out, and still it is not whole."""
    text, text_listed = entry(b"structure.json", TEXT)
    content = npy(X)
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    body, listed = entry(b"arr_0.npy", content, kernel.compress(content) + kernel.flush(zlib.Z_SYNC_FLUSH))
    where = [(text_listed, b"structure.json", 0), (listed, b"arr_0.npy", len(text))]
    (tmp_path / "x").write_bytes(archive([text, body], where))
    refused(tmp_path / "x", "has a damaged entry arr_0.npy")


@pytest.mark.parametrize("packed", [False, True])
def test_size_that_cannot_come_out_takes_no_memory(tmp_path: Path, packed: bool) -> None:
    """The directory and the header of the array tell the same lie."""
    text, text_listed = entry(b"structure.json", TEXT)
    content = npy(X, shape=(2**24,))
    size = len(content) - X.nbytes + 8 * 2**24
    body, listed = entry(b"arr_0.npy", content, deflated(content) if packed else None, size)
    (tmp_path / "x").write_bytes(
        archive([text, body], [(text_listed, b"structure.json", 0), (listed, b"arr_0.npy", len(text))])
    )
    tracemalloc.start()
    try:
        refused(tmp_path / "x", "is truncated, damaged")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_bytes_that_no_entry_owns_are_refused(tmp_path: Path) -> None:
    text, listed = entry(b"structure.json", TEXT.replace(b'{"array":"arr_0"}', b"1"))
    for between in (b"", b"hidden"):
        (tmp_path / "x").write_bytes(archive([text, between], [(listed, b"structure.json", 0)]))
        if between:
            refused(tmp_path / "x", "is truncated, damaged")
        else:
            assert load(tmp_path / "x") == 1


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    """A bomb after Fifield: all entries of the directory share their data."""
    content = npy(np.zeros(1 << 16, np.uint8))
    body, listed = entry(b"0.npy", content, deflated(content))
    (tmp_path / "x").write_bytes(archive([body], [(listed, b"%d.npy" % k, 0) for k in range(2)]))
    refused(tmp_path / "x")


def test_directory_larger_than_what_it_lists_is_not_read(tmp_path: Path) -> None:
    body, listed = entry(b"0.npy", npy(X))
    (tmp_path / "x").write_bytes(archive([body], [(listed, b"0.npy", 0)], bytes(8 << 20)))
    tracemalloc.start()
    try:
        refused(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_sizes_above_4_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit of the short form at 1 kB, `zipfile` writes the long form of everything."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    obj = {"a": np.arange(1000.0), "b": [np.ones(1, bool)], "c": np.zeros((30, 30))}
    for compress in (False, True):
        assert same(through(obj, tmp_path / "x", compress=compress), obj)
        data = (tmp_path / "x").read_bytes()
        assert b"PK\6\6" in data
        for k in range(len(data) - 98, len(data)):  # each byte of the two records, which have no checksum
            bent = bytearray(data)
            bent[k] ^= 0x11
            (tmp_path / "y").write_bytes(bent)
            with contextlib.suppress(DataFormatError):
                assert same(load(tmp_path / "y"), obj)


# --- what is no file --------------------------------------------------------------------------------------------------


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(IsADirectoryError):
        save([], tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is not a regular file")


# --- safetensors ------------------------------------------------------------------------------------------------------


def test_safetensors_both_ways(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    obj = {
        "a": np.arange(6.0).reshape(2, 3).T,
        "b": np.array(3, np.int8),
        "c": Tensor([1.0]),
        "d": np.zeros((0, 2), bool),
    }
    path = tmp_path / "x.safetensors"
    save(obj, path)
    first = path.read_bytes()
    for back in (load(path), library.load_file(path), library.load(first)):
        assert back.keys() == obj.keys()
        for name, value in obj.items():
            np.testing.assert_array_equal(
                back[name], value.numpy() if isinstance(value, Tensor) else value, strict=True
            )
    assert all(value.flags.writeable for value in load(path).values())
    save(obj, path)
    assert path.read_bytes() == first
    save(obj, tmp_path / "y", format="safetensors")
    assert (tmp_path / "y").read_bytes() == first
    assert load(tmp_path / "y", format="safetensors").keys() == obj.keys()
    library.save_file({"z": X}, path)
    assert same(load(path), {"z": X})


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ([X], "flat dict of arrays"),
        ({"a": {"b": X}}, "flat dict of arrays"),
        ({1: X}, "flat dict of arrays"),
        ({"a": 1.0}, "flat dict of arrays"),
        ({"a": np.array(["x"])}, "has dtype <U1"),
        ({"a": np.ones(1, complex)}, "safetensors refuses this"),
        ({"\ud800": X}, "safetensors refuses this"),
    ],
)
def test_safetensors_refuses_what_it_has_no_form_for(tmp_path: Path, obj: Any, message: str) -> None:
    pytest.importorskip("safetensors")
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="not compressed"):
        save({"a": X}, tmp_path / "x.safetensors", compress=True)


def test_safetensors_refuses_damaged_files(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    good = library.save({"a": X})
    for data in (b"", good[:-1], good + b"\0", b"\xff" * 40, npy(X), good.replace(b"F64", b"BF9")):
        path.write_bytes(data)
        refused(path, "is no safetensors file")
    path.write_bytes(library.save({"a": np.array([0, 2], np.uint8)}).replace(b'"U8"', b'"BOOL"').replace(b"  ", b"", 1))
    refused(path)
    path.write_bytes(good)
    refused(path, "has .* bytes; max_bytes is 10", max_bytes=10)


def test_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match=r"tinygrad_fnn\[safetensors\]"):
        save({"a": X}, tmp_path / "x.safetensors")

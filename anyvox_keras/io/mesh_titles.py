"""Where a mesh's file says whether it is in LPS or RAS, as 3D Slicer writes and reads it."""

import re
from typing import Any

from anyvox_keras.extras import load_extra

#: in titles and comments; in .vtp files an array of this name
_SPACE, _SAID = "SPACE", re.compile(r"SPACE=(LPS|RAS)")
# of a .stl file's header, which has 80 bytes
_LENGTH = 60


def title_of(reader: Any, data: Any) -> str:
    """Return the title, header or comments of a file that VTK has read.

    Args:
        reader: VTK's reader.
        data: The `vtkPolyData` that it read.
    """
    array = data.GetFieldData().GetAbstractArray(_SPACE)
    if array is not None and array.GetNumberOfValues():
        return f"{_SPACE}={_text(array.GetValue(0))}"
    if hasattr(reader, "GetComments"):  # .ply
        comments = reader.GetComments()
        values = (comments.GetValue(k) for k in range(comments.GetNumberOfValues()))
        return " ".join(_text(value) for value in values)
    named = getattr(reader, "GetComment", None) or getattr(reader, "GetHeader", None)
    return _text(named()) if named else ""


def system_of(title: str) -> str | None:
    """Return "LPS" or "RAS", or nothing where a title does not say.

    Example:
        ```python
        >>> system_of("3D Slicer output. SPACE=RAS")
        'RAS'
        ```
    """
    found = _SAID.search(title)
    return found[1] if found else None


def describe(writer: Any, data: Any, ending: str, title: str, system: str) -> None:
    """Let a file say in which system it is, where 3D Slicer looks for it, after its own title.

    Args:
        writer: VTK's writer.
        data: The `vtkPolyData` to write; a .vtp file gets an array of it.
        ending: Of the file; a .obj file is not served, since its writer takes no comment.
        title: What the file was called.
        system: "LPS" or "RAS".
    """
    first = (title.split("\0")[0].splitlines() or [""])[0]
    whole = f"{_SAID.sub('', first).strip()[:_LENGTH]} {_SPACE}={system}".strip()
    if ending == ".ply":
        writer.AddComment(whole)
    elif ending == ".vtp":
        array = load_extra("vtkmodules.vtkCommonCore", "a mesh").vtkStringArray()
        array.SetName(_SPACE)
        array.InsertNextValue(system)
        data.GetFieldData().AddArray(array)
    elif ending != ".obj":
        writer.SetHeader(whole)


def _text(value: Any) -> str:
    """VTK gives bytes where a text is not UTF-8."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")

"""A module of 3D Slicer: register, apply and segment loaded nodes by the `anyvox` command.

The command runs in a Python of its own, so that Slicer's stays as it is. What needs no Slicer
stands in the first half of this file and is tested without it.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import ctk
    import qt
    import slicer
    from slicer.ScriptedLoadableModule import (
        ScriptedLoadableModule,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleWidget,
    )
except ImportError:  # outside Slicer: for the tests
    slicer = ctk = qt = None
    ScriptedLoadableModule = ScriptedLoadableModuleWidget = object
    ScriptedLoadableModuleLogic = object

#: exit code of a result that is written and not to be trusted
FAILED_VERDICT = 3


def register_command(
    anyvox: str, fixed: Path, moving: Path, out: Path, affine: str = "", features: str = "mind"
) -> list[str]:
    """Return the command that registers two files.

    Args:
        anyvox: The command's file.
        fixed: The image that stays.
        moving: The image that is brought onto it.
        out: Folder of the results.
        affine: "translation", "rigid" or "affine" for scans not aligned; nothing for none.
        features: "mind", "network" or "both".
    """
    command = [anyvox, "register", "--fixed", str(fixed), "--moving", str(moving)]
    command += ["--out", str(out), "--features", features]
    return command + (["--affine", affine] if affine else [])


def apply_command(
    anyvox: str, image: Path, warp: Path, reference: Path, out: Path, labels: bool = False
) -> list[str]:
    """Return the command that warps a file."""
    command = [anyvox, "apply", "--warp", str(warp), "--image", str(image)]
    command += ["--reference", str(reference), "--out", str(out)]
    return command + (["--labels"] if labels else [])


def segment_command(anyvox: str, image: Path, run: Path, out: Path) -> list[str]:
    """Return the command that segments a file by the run of a training."""
    return [
        anyvox, "segment", "predict", "--run", str(run), "--images", str(image), "--out", str(out)
    ]  # fmt: skip


def run(command: Sequence[str], tell: Callable[[str], None] = print) -> int:
    """Run a command, tell each line it says, and return its exit code.

    Raises:
        RuntimeError: With the command's last line, if it failed. A verdict of FAIL is no failure.
    """
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last = line.strip() or last
            tell(line.rstrip())
    if process.returncode not in (0, FAILED_VERDICT):
        raise RuntimeError(last or f"{command[0]}: exit code {process.returncode}")
    return process.returncode


@contextmanager
def room() -> Iterator[Path]:
    """Give a folder that goes when the work is done."""
    folder = Path(tempfile.mkdtemp(prefix="anyvox-slicer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class AnyVoxLogic(ScriptedLoadableModuleLogic):
    """From nodes to files, through the command, and back to nodes.

    Args:
        anyvox: The command's file.
        util: What saves and loads nodes; Slicer's own `slicer.util` by default.
        tell: What is given each line of the command.
    """

    def __init__(
        self, anyvox: str = "anyvox", util: Any = None, tell: Callable[[str], None] = print
    ) -> None:
        if slicer is not None:
            super().__init__()
        self.anyvox, self.tell = anyvox, tell
        self.util = util or slicer.util

    def register(
        self, fixed: Any, moving: Any, affine: str = "", features: str = "mind"
    ) -> tuple[Any, Any, str]:
        """Return the nodes of the moved image and of the transform, and the verdict's line."""
        with room() as folder:
            files = self._saved(folder, fixed=fixed, moving=moving)
            out, said = folder / "result", [""]

            def tell(line: str) -> None:
                said.append(line)
                self.tell(line)

            run(register_command(self.anyvox, *files, out, affine, features), tell)
            moved = self.util.loadVolume(str(out / "moved.nii.gz"))
            transform = self.util.loadTransform(str(out / "warp.nii.gz"))
            return moved, transform, said[-1]

    def apply(self, image: Any, warp: Path, reference: Any, labels: bool = False) -> Any:
        """Return the node of an image, or of a label map, that a warp's file brings over."""
        with room() as folder:
            one, grid = self._saved(folder, image=image, reference=reference)
            out = folder / "moved.nii.gz"
            run(apply_command(self.anyvox, one, warp, grid, out, labels), self.tell)
            load = self.util.loadLabelVolume if labels else self.util.loadVolume
            return load(str(out))

    def segment(self, image: Any, training: Path) -> Any:
        """Return the segmentation node of an image."""
        with room() as folder:
            (file,) = self._saved(folder, image=image)
            run(segment_command(self.anyvox, file, training, folder / "found"), self.tell)
            return self.util.loadSegmentation(str(folder / "found" / file.name))

    def _saved(self, folder: Path, **nodes: Any) -> list[Path]:
        paths = [folder / f"{name}.nii.gz" for name in nodes]
        for path, node in zip(paths, nodes.values(), strict=True):
            if not self.util.saveNode(node, str(path)):
                raise RuntimeError(f"{path.name}: Slicer could not write the node")
        return paths


class AnyVox(ScriptedLoadableModule):
    """What Slicer's list of modules shows."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = "AnyVox"
        parent.categories = ["Registration", "Segmentation"]
        parent.dependencies = []
        parent.contributors = ["anyvox_keras"]
        parent.helpText = (
            "Registers scans of any contrast, warps, and segments by networks trained on few "
            "labels. Needs the command anyvox: pip install 'anyvox_keras[torch]' in a Python of "
            "its own. Research only, no medical device."
        )


class AnyVoxWidget(ScriptedLoadableModuleWidget):
    """Three panels: register, apply, segment."""

    def setup(self) -> None:
        """Build the panels."""
        super().setup()
        self.anyvox = ctk.ctkPathLineEdit()
        self.anyvox.currentPath = shutil.which("anyvox") or ""
        form = self._panel("Command")
        form.addRow("anyvox:", self.anyvox)

        form = self._panel("Register")
        self.fixed, self.moving = self._nodes(form, "Fixed:"), self._nodes(form, "Moving:")
        self.affine = qt.QComboBox()
        self.affine.addItems(["", "translation", "rigid", "affine"])
        form.addRow("Not aligned:", self.affine)
        self._button(form, "Register", self.on_register)

        form = self._panel("Apply a warp")
        self.image, self.reference = self._nodes(form, "Image:"), self._nodes(form, "Onto:")
        self.warp = ctk.ctkPathLineEdit()
        form.addRow("Warp (file):", self.warp)
        self._button(form, "Apply", self.on_apply)

        form = self._panel("Segment")
        self.scan = self._nodes(form, "Image:")
        self.training = ctk.ctkPathLineEdit()
        self.training.filters = ctk.ctkPathLineEdit.Dirs
        form.addRow("Run (folder):", self.training)
        self._button(form, "Segment", self.on_segment)
        self.layout.addStretch(1)

    def on_register(self) -> None:
        """Register, and show the moved image over the fixed one."""
        with slicer.util.tryWithErrorDisplay("Registration failed", waitCursor=True):
            fixed = self.fixed.currentNode()
            moved, _, said = self._logic().register(
                fixed, self.moving.currentNode(), self.affine.currentText
            )
            slicer.util.setSliceViewerLayers(background=fixed, foreground=moved)
            slicer.util.showStatusMessage(said, 10_000)

    def on_apply(self) -> None:
        """Warp an image."""
        with slicer.util.tryWithErrorDisplay("The warp failed", waitCursor=True):
            nodes = self.image.currentNode(), self.reference.currentNode()
            labels = nodes[0].IsA("vtkMRMLLabelMapVolumeNode")
            self._logic().apply(nodes[0], Path(self.warp.currentPath), nodes[1], labels)

    def on_segment(self) -> None:
        """Segment an image."""
        with slicer.util.tryWithErrorDisplay("Segmentation failed", waitCursor=True):
            self._logic().segment(self.scan.currentNode(), Path(self.training.currentPath))

    def _logic(self) -> AnyVoxLogic:
        def tell(line: str) -> None:
            slicer.util.showStatusMessage(line)
            slicer.app.processEvents()

        return AnyVoxLogic(self.anyvox.currentPath, tell=tell)

    def _panel(self, title: str) -> Any:
        box = ctk.ctkCollapsibleButton()
        box.text = title
        self.layout.addWidget(box)
        return qt.QFormLayout(box)

    def _nodes(self, form: Any, title: str) -> Any:
        chooser = slicer.qMRMLNodeComboBox()
        chooser.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        chooser.addEnabled = chooser.removeEnabled = False
        chooser.setMRMLScene(slicer.mrmlScene)
        form.addRow(title, chooser)
        return chooser

    def _button(self, form: Any, title: str, pressed: Callable[[], None]) -> None:
        button = qt.QPushButton(title)
        button.connect("clicked(bool)", lambda *_: pressed())
        form.addRow(button)

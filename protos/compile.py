"""Compiles a proto file: ``python protos/compile.py FILE FOLDER``."""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent


def compile_proto(name: str, folder: Path) -> None:
    """Write the Python module of a proto file of this folder, and its types, into ``folder``.

    Raises:
        SystemExit: the compiler refused the file.
    """
    arguments = [
        "protoc",
        f"--proto_path={HERE}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--python_out={folder}",
        f"--pyi_out={folder}",
        name,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")


if __name__ == "__main__":
    compile_proto(sys.argv[1], Path(sys.argv[2]))

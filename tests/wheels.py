"""Small wheels made by hand, and a pip that finds these and nothing else."""

import zipfile


def write_wheel(folder, name, version="1.0", *, requires=()):
    """A wheel with one empty module."""
    folder.mkdir(parents=True, exist_ok=True)
    place = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    files = {
        f"{name}.py": "",
        f"{place}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{place}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{place}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file, content in (*files.items(), (f"{place}/RECORD", record)):
            wheel.writestr(file, content)


def offline(folder):
    """The variables under which pip installs from a folder of wheels alone."""
    return {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}

"""The same bits on ARM: the hashes of bits.py, computed by an emulated aarch64 processor.

    python tests/emulated_arm.py [NAME...] [--folder DIR] [--cpu cortex-a76]

Fetches, without root and without changing the system, Debian's Python for arm64 and what it needs,
the wheels of NumPy and Numba for aarch64, in the versions that are installed here, and qemu, if it
is not installed; together some 170 MB, kept in --folder for the next time. Then bits.py runs under
qemu-user, and what it finds is compared with tests/bits.json. Exit code 1 if a hash differs.

For Debian on another processor, with apt, dpkg and pip. An emulated processor is some thirty times
slower, most of all in compiling: minutes a network; but kernels are kept, too.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import bits

ROOT = Path(__file__).parents[1]
#: all that training needs
WHEELS = ("numpy", "numba", "llvmlite", "threadpoolctl", "platformdirs", "filelock")
TAGS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
QEMU = "qemu-aarch64-static"
NETWORKS = ("mlp", "lenet5", "cnn", "resnet")


def run(*command, **how):
    """The command, quietly; the program ends with its last line if it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **how)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        sys.exit(f"{command[0]}: expected exit code 0, found {done.returncode}: {last}")
    return done.stdout


def debian():
    """The name of this Debian; the program ends if it is none."""
    found = platform.freedesktop_os_release()
    if found.get("ID") != "debian" or not KEYS.is_file():
        sys.exit(f"expected Debian with {KEYS}, found {found.get('PRETTY_NAME', 'another system')}")
    return found["VERSION_CODENAME"]


def fetch_system(folder):
    """folder/root <- Python for arm64 and the libraries that it and the wheels need."""
    root = folder / "root"
    if (root / "usr/bin/python3").exists():
        return
    print("fetching Debian's Python for arm64", file=sys.stderr, flush=True)
    apt = folder / "apt"
    for name in ("state", "lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()  # nothing is installed there
    name, site = debian(), "http://deb.debian.org/debian"
    (apt / "sources.list").write_text(
        f"deb [signed-by={KEYS}] {site} {name} main\n"
        f"deb [signed-by={KEYS}] {site}-security {name}-security main\n"
    )
    (apt / "apt.conf").write_text(
        'APT::Architecture "arm64"; APT::Architectures "arm64"; APT::Sandbox::User "";\n'
        f'Dir::State "{apt}/state"; Dir::State::lists "{apt}/lists";\n'
        f'Dir::State::status "{apt}/status"; Dir::Cache "{apt}/cache";\n'
        f'Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "/dev/null";\n'
    )
    env = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    run("apt-get", "update", "-q", env=env)
    how = ("-q", "-y", "--download-only", "--no-install-recommends")
    run("apt-get", "install", *how, "python3", "libgomp1", "libstdc++6", env=env)
    unpacked = folder / "root.part"
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        run("dpkg", "-x", package, unpacked)
    unpacked.rename(root)


def fetch_wheels(folder, python):
    """folder/site <- the wheels for aarch64 and that Python, in this environment's versions."""
    site = folder / f"site-{python}"
    wanted = [f"{name}=={version(name)}" for name in WHEELS]
    stamp = site / "versions.txt"
    if stamp.is_file() and stamp.read_text() == "\n".join(wanted):
        return site
    print(f"fetching {', '.join(wanted)}", file=sys.stderr, flush=True)
    shutil.rmtree(site, ignore_errors=True)
    tags = [word for tag in TAGS for word in ("--platform", f"{tag}_aarch64")]
    how = ("--only-binary=:all:", "--implementation", "cp", "--python-version", python)
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",
        "--target",
        site,
        *tags,
        *how,
        *wanted,
    )
    stamp.write_text("\n".join(wanted))
    return site


def fetch_qemu(folder):
    """The emulator: the system's, or one in folder."""
    if found := shutil.which(QEMU):
        return Path(found)
    path = folder / "qemu" / "usr/bin" / QEMU
    if not path.is_file():
        print("fetching qemu", file=sys.stderr, flush=True)
        (folder / "qemu").mkdir(exist_ok=True)
        run("apt-get", "download", "-q", "qemu-user-static", cwd=folder / "qemu")
        (package,) = (folder / "qemu").glob("*.deb")
        run("dpkg", "-x", package, folder / "qemu")
        package.unlink()
    return path


def emulated(folder, names, cpu):
    """What bits.py prints there, as {network: {what: hash}}."""
    fetch_system(folder)
    root, qemu = folder / "root", fetch_qemu(folder)
    python = os.readlink(root / "usr/bin/python3").removeprefix("python")
    site = fetch_wheels(folder, python)
    env = {
        "PATH": "/usr/bin",
        "HOME": str(folder),
        "PYTHONPATH": f"{ROOT}:{site}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(folder / "kernels"),
        "NUMBA_NUM_THREADS": "2",
    }
    if "SCRATCHNET_DATA" in os.environ:  # the images may be here already
        env["SCRATCHNET_DATA"] = os.environ["SCRATCHNET_DATA"]
    start = [qemu, *(["-cpu", cpu] if cpu else []), "-L", root, root / f"usr/bin/python{python}"]
    machine = run(*start, "-c", "import platform; print(platform.machine())", env=env).strip()
    if machine != "aarch64":
        sys.exit(f"expected an emulated aarch64, found {machine}")
    command = [*map(str, start), str(ROOT / "tests/bits.py"), "--print", *names]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"bits.py under qemu: expected exit code 0, found {done.returncode}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join(bits.NETWORKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {known}")
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "scratchnet-arm64")
    parser.add_argument("--folder", type=Path, default=place, help=f"default: {place}")
    parser.add_argument("--cpu", help="one that qemu knows; without it, qemu's most able")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*bits.NETWORKS}):
        parser.error(f"expected names of {known}, found {', '.join(unknown)}")
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    found = emulated(folder, options.names or NETWORKS, options.cpu)
    wrong = bits.differences(found, bits.recorded())
    print("\n".join(wrong) or f"{', '.join(found)}: the recorded bits on an emulated aarch64")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

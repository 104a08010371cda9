#!/usr/bin/env bash
# Prepares the machine and .venv for the make targets; does nothing, quickly, when all is in place.
#
#   devstack/bootstrap.sh [--dev] [--notebooks] [--date YYYY-MM-DD]
#
#   --dev         also the tools of make check and make test (requirements-dev.txt)
#   --notebooks   also JupyterLab (requirements-notebooks.txt)
#   --date        refuse a malformed date before anything is installed
#
# PYTHON=/path/to/python chooses the interpreter. Exit codes: 1 the machine lacks something, 2 wrong use.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

readonly LOCAL=.local
readonly VENV=.venv
readonly STAMP=$VENV/.bootstrap
readonly LOG=$LOCAL/logs/bootstrap.log
readonly NEEDED_MB=1500
readonly SERVER_FOLDERS=${SERVER_FOLDERS-/usr/sbin:/usr/libexec:/usr/local/sbin:/usr/local/bin:/usr/local/mysql/bin}

groups=()
day=
python=
missing=()

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
want() { [[ " ${groups[*]} " == *" $1 "* ]] || groups+=("$1"); }

parse_arguments() {
    while (($#)); do
        case $1 in
            --dev | --notebooks) want "${1#--}" ;;
            --date)
                (($# > 1)) || { printf 'error: --date needs a value\n' >&2; exit 2; }
                day=$2
                shift
                ;;
            *)
                printf 'error: unknown argument %s\n' "$1" >&2
                exit 2
                ;;
        esac
        shift
    done
}

# --- Python -----------------------------------------------------------------------------------------------

usable_python() {
    "$1" -c 'import sys, ssl, sqlite3, zlib; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
        >/dev/null 2>&1
}

find_python() {
    [[ -z $python ]] || return 0
    local candidate found=()
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        have "$candidate" || continue
        if usable_python "$candidate"; then
            python=$("$candidate" -c 'import sys; print(sys.executable)')
            return
        fi
        found+=("$candidate ($("$candidate" --version 2>&1 | head -n 1 || true))")
    done
    ((${#found[@]})) || found=(none)
    fail "Python 3.11 to 3.14 with the modules ssl, sqlite3 and zlib is needed. Found: ${found[*]}." \
        "Install one (Debian 12, Ubuntu 24.04: sudo apt-get install python3) or name it: make PYTHON=/path/to/python3.11 ..."
}

# --- What the machine lacks ---------------------------------------------------------------------------------

is_set() {
    [[ -n ${!1:-} ]] || { [[ -f .env ]] && grep -Eq "^[[:space:]]*(export[[:space:]]+)?$1=[\"']?[^\"'[:space:]]" .env; }
}

need_database_server() {
    is_set AIRFLOW_CONN_MYSQL_DEFAULT && return 1
    local folder
    local -a folders
    IFS=: read -ra folders <<<"$PATH:$SERVER_FOLDERS"
    for folder in "${folders[@]}"; do
        [[ -x $folder/mariadbd || -x $folder/mysqld ]] && return 1
    done
    return 0
}

apt_has() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]; }

first_apt_package() {
    local package
    for package in "$@"; do
        if apt_has "$package"; then
            say "$package"
            return
        fi
    done
    say "$1"
}

# The -core packages hold the server without the service that would start at boot.
database_packages() {
    local server
    server=$(first_apt_package mariadb-server-core mariadb-server-core-10.6 mariadb-server)
    missing+=("$server")
    case $server in
        mariadb-server) ;;
        *) missing+=("${server/server/client}") ;;
    esac
}

has_c_headers() { gcc -E - <<<'#include <stdio.h>' >/dev/null 2>&1; }
has_mysql_headers() {
    pkg-config --exists mysqlclient 2>/dev/null || pkg-config --exists mariadb 2>/dev/null ||
        pkg-config --exists libmariadb 2>/dev/null
}
has_python_headers() {
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}
has_venv_module() { "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; }
has_pip() { "$python" -m pip --version >/dev/null 2>&1; }

# mysqlclient is published without a Linux wheel, so it is compiled.
compiler_packages() {
    has_c_headers || missing+=(gcc libc6-dev)
    have pkg-config || missing+=(pkg-config)
    has_mysql_headers || missing+=(libmariadb-dev)
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    has_python_headers || missing+=("libpython$version-dev")
    have uv || [[ -x $LOCAL/uv/bin/uv ]] || has_venv_module || has_pip || missing+=("python$version-venv")
}

# --- Running the tools --------------------------------------------------------------------------------------

run_logged() {
    local what=$1 from
    shift
    from=$(wc -c <"$LOG")
    printf -- '--- %s\n' "$what" >>"$LOG"
    "$@" >>"$LOG" 2>&1 </dev/null || explain "$what" "$from"
}

explain() {
    local what=$1 output reason="$1 failed."
    output=$(tail -c "+$(($2 + 1))" "$LOG")
    if grep -Eqi 'no space left|disk quota exceeded|not have enough free space' <<<"$output"; then
        reason="The disk is full: $what stopped half-way. Free some space and run the same command again."
    elif grep -Eqi 'resolv|dns error|lookup address|name resolution|network is unreachable|error sending request|could not connect|failed to fetch|newconnectionerror' <<<"$output"; then
        reason="No network: $what could not reach the package server. Check the connection or the proxy and run the same command again."
    elif grep -Eqi 'permission denied|operation not permitted' <<<"$output"; then
        reason="No permission: $what may not write where it must."
    fi
    printf 'error: %s\n       The last lines it wrote (all of them: %s):\n' "$reason" "$LOG" >&2
    tail -n 12 <<<"$output" | sed 's/^/         /' >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

install_packages() {
    ((${#missing[@]})) || return 0
    have apt-get || fail "This machine lacks: ${missing[*]} (names as on Debian)." \
        "Only Debian and Ubuntu are set up automatically; install the equivalent packages and run the same command again."
    if ((EUID != 0)) && ! { have sudo && sudo -n true 2>/dev/null; }; then
        fail "These packages are missing and installing them needs root: ${missing[*]}" \
            "Run this, then the same make command again:" \
            "  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" \
            "Or, to use your own database instead of an embedded one, set AIRFLOW_CONN_MYSQL_DEFAULT (see .env.example)."
    fi
    say "Installing with apt-get: ${missing[*]}"
    run_logged "apt-get install" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}

update_package_lists() {
    have apt-get || return 0
    if ((EUID == 0)) || { have sudo && sudo -n true 2>/dev/null; }; then
        run_logged "apt-get update" as_root apt-get update -q -o APT::Update::Error-Mode=any
    fi
}

# Package names differ between releases, so the lists are refreshed before the names are chosen.
install_what_is_missing() {
    compiler_packages
    need_database_server && missing+=(database)
    ((${#missing[@]})) || return 0
    update_package_lists
    missing=()
    compiler_packages
    if need_database_server; then database_packages; fi
    install_packages
}

check_folder() {
    if ! mkdir -p -- "$LOCAL/logs" 2>/dev/null || [[ ! -w . || ! -w $LOCAL/logs ]]; then
        fail "No permission to write in $PWD as $(id -un)." "Clone the project into a folder of your own."
    fi
    # Results, logs and passwords are nobody else's business.
    chmod 700 -- "$LOCAL"
}

check_disk() {
    local free
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
    ((free >= NEEDED_MB)) ||
        fail "The disk is nearly full: $free MB free in $PWD, $NEEDED_MB MB are needed." "Free some space and run the same command again."
}

# --- The environment ----------------------------------------------------------------------------------------

choose_cache() {
    local caches=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
    local cache=${UV_CACHE_DIR:-${caches:+$caches/uv}}
    if [[ -z $cache ]] || ! mkdir -p -- "$cache" 2>/dev/null || [[ ! -w $cache ]]; then
        export UV_CACHE_DIR=$PWD/$LOCAL/uv-cache
    fi
}

find_uv() {
    if have uv; then
        uv=(uv)
    elif [[ -x $LOCAL/uv/bin/uv ]] && "$LOCAL/uv/bin/uv" --version >/dev/null 2>&1; then
        uv=("$LOCAL/uv/bin/uv")
    else
        say "Installing uv into $LOCAL/uv"
        rm -rf -- "$LOCAL/uv"
        if has_venv_module; then
            run_logged "creating $LOCAL/uv" "$python" -m venv "$LOCAL/uv"
            run_logged "pip install uv" "$LOCAL/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv
        else
            run_logged "pip install uv" "$python" -m pip install --quiet --disable-pip-version-check --target "$LOCAL/uv" uv
        fi
        uv=("$LOCAL/uv/bin/uv")
    fi
}

build_environment() {
    local requirements=(-r requirements.txt) group
    for group in "${groups[@]}"; do requirements+=(-r "requirements-$group.txt"); done
    if ! "$VENV/bin/python" -c '' 2>/dev/null || ! usable_python "$VENV/bin/python"; then
        say "Creating $VENV with $("$python" --version)"
        rm -rf -- "$VENV"
        run_logged "creating $VENV" "${uv[@]}" venv --python "$python" "$VENV"
    fi
    rm -f -- "$STAMP"
    say "Installing the Python packages (the first time takes a minute or two)"
    run_logged "uv pip install" "${uv[@]}" pip install --python "$VENV/bin/python" "${requirements[@]}" -c constraints.txt
    run_logged "uv pip install -e ." "${uv[@]}" pip install --python "$VENV/bin/python" --no-deps -e .
}

fingerprint() {
    local version
    version=$("$VENV/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null) || return 0
    { printf '%s\n%s\n' "$PWD" "$version"; cat requirements*.txt constraints.txt pyproject.toml; } | sha256sum
}

up_to_date() {
    [[ -f $STAMP ]] || return 1
    local stamped stamped_print group
    { read -r stamped && read -r stamped_print; } <"$STAMP" || return 1
    for group in "${groups[@]}"; do
        [[ " $stamped " == *" $group "* ]] || return 1
    done
    [[ $stamped_print == "$(fingerprint)" ]]
}

# What was installed for another target stays up to date, too.
keep_groups() {
    [[ -f $STAMP ]] || return 0
    local stamped group
    read -r stamped <"$STAMP" || return 0
    for group in $stamped; do [[ ! -f requirements-$group.txt ]] || want "$group"; done
}

main() {
    parse_arguments "$@"
    check_folder
    if [[ -n $day ]]; then
        find_python
        "$python" devstack/dates.py "$day"
    fi
    if up_to_date && ! need_database_server; then return; fi

    find_python
    : >"$LOG"
    check_disk
    install_what_is_missing
    up_to_date && return
    choose_cache
    find_uv
    keep_groups
    build_environment
    { say "${groups[*]}"; fingerprint; } >"$STAMP"
}

main "$@"

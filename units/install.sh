#!/bin/sh
# install.sh install|uninstall: put netbootd on this machine, or take it away. Called by make.
#
# From the environment: DESTDIR (a staging directory: then nothing of this machine is touched), PREFIX
# (/usr/local), PYTHON (python3), PACKAGES (Debian packages a head node needs at run time), NFS_SERVER (those of
# its NFS server, if not the ones that suit this machine's kernel).
#
# Everything but the configuration lies under PREFIX; PREFIX/lib/netbootd is a virtual environment, which
# `install` may be run over again at any time: that is an upgrade.
set -eu

DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr/local}
PYTHON=${PYTHON:-python3}
PACKAGES=${PACKAGES:-}
NFS_SERVER=${NFS_SERVER:-}

HOME_DIR=$PREFIX/lib/netbootd
BIN=$PREFIX/bin
SHARE=$PREFIX/share
STATE=/var/lib/netbootd
CONFIG=/etc/netbootd/netbootd.toml
case $PREFIX in
/usr | /usr/local) LIB=$PREFIX/lib ;; # systemd looks here by itself
*) LIB=/etc ;;
esac
UNITS=$LIB/systemd/system
UNIT_NAMES='netbootd.service netbootd-apply.path netbootd-apply.service netbootd-roots.service
netbootd-ganesha.service'
BASH_COMPLETION=$SHARE/bash-completion/completions/netbootctl
ZSH_COMPLETION=$SHARE/zsh/site-functions/_netbootctl
FISH_COMPLETION=/etc/fish/completions/netbootctl.fish # under /usr/local fish looks in a desktop only

say() { echo "==> $*"; }

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# Whether this is the machine itself and not a staging directory.
here() { [ -z "$DESTDIR" ]; }

systemd_runs() { here && [ -d /run/systemd/system ]; }

need_root() {
    if here && [ "$(id -u)" -ne 0 ]; then
        fail "only root can do that; run: sudo make $1"
    fi
}

# ---- install

# As netbootctl's setup proposes it: the kernel's server, or one in user space where this kernel has none.
nfs_server() {
    modules=/lib/modules/$(uname -r)
    if grep -qw nfsd /proc/filesystems || grep -qs '/nfsd\.ko' "$modules/modules.dep" "$modules/modules.builtin"; then
        echo nfs-kernel-server
    else
        echo nfs-ganesha nfs-ganesha-vfs
    fi
}

installed() { # PACKAGE
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The nodes have their time from here. Debian has one time server at a time: who has another keeps it.
time_server() {
    for package in ntpsec openntpd; do
        if installed "$package"; then return 0; fi
    done
    echo chrony
}

packages() {
    here || return 0
    PACKAGES="$PACKAGES ${NFS_SERVER:-$(nfs_server)} $(time_server)"
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system; a head node needs what Debian calls: $PACKAGES"
        return 0
    fi
    missing=
    for package in $PACKAGES; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of names
    if ! apt-get install --yes --quiet --no-install-recommends $missing; then
        apt-get update --quiet
        # shellcheck disable=SC2086
        apt-get install --yes --quiet --no-install-recommends $missing
    fi
}

# The service may not look into home directories, so its Python can't live in one (as pyenv's does).
find_python() {
    for python in "$PYTHON" /usr/bin/python3; do
        base=$("$python" -c 'import sys; print(sys.base_prefix if sys.version_info >= (3, 11) else "")' 2>/dev/null) ||
            continue
        case $base in
        '' | /home/* | /root/* | /run/user/*) ;;
        *)
            PYTHON=$python
            return 0
            ;;
        esac
    done
    fail "no Python 3.11 or newer outside of home directories; name one: make install PYTHON=/usr/bin/python3.12"
}

virtual_environment() {
    say "netbootd and its libraries -> $HOME_DIR"
    venv=$DESTDIR$HOME_DIR
    "$PYTHON" -m venv "$venv" || fail "python3 -m venv failed; run: apt-get install python3-venv"
    pip="$venv/bin/python -m pip --quiet --disable-pip-version-check --no-input"
    # shellcheck disable=SC2086  # a command with its options
    $pip install . # a directory is installed anew even if its version is there already
    if command -v gcc >/dev/null && pkg-config --exists libsystemd 2>/dev/null; then
        # shellcheck disable=SC2086
        $pip install 'systemd-python>=235' >/dev/null 2>&1 ||
            say "systemd-python can't be built here; netbootd does without"
    fi
    if ! here; then # what pip wrote names the staging directory
        for file in "$venv"/bin/*; do
            [ -L "$file" ] || sed -i "s|$DESTDIR$HOME_DIR|$HOME_DIR|g" "$file"
        done
        sed -i "s|$DESTDIR$HOME_DIR|$HOME_DIR|g" "$venv/pyvenv.cfg"
        find "$venv" -name __pycache__ -type d -prune -exec rm -rf {} +
    fi
    mkdir -p "$DESTDIR$BIN"
    ln -sfn "$HOME_DIR/bin/netbootd" "$DESTDIR$BIN/netbootd"
    ln -sfn "$HOME_DIR/bin/netbootctl" "$DESTDIR$BIN/netbootctl"
}

completions() {
    for shell in bash zsh fish; do
        case $shell in
        bash) file=$DESTDIR$BASH_COMPLETION ;;
        zsh) file=$DESTDIR$ZSH_COMPLETION ;;
        fish) file=$DESTDIR$FISH_COMPLETION ;;
        esac
        mkdir -p "${file%/*}"
        _NETBOOTCTL_COMPLETE=source_$shell "$DESTDIR$HOME_DIR/bin/python" -I -c \
            'import sys; from netbootd.ctl import main; sys.exit(main())' |
            sed '/./,$!d' >"$file" # zsh wants #compdef in the first line
        [ -s "$file" ] || fail "netbootctl doesn't say how $shell completes it"
    done
    # zsh runs this file at the first TAB, which shouldn't be lost.
    echo '_netbootctl_completion "$@"' >>"$DESTDIR$ZSH_COMPLETION"
}

units() {
    say "units -> $UNITS"
    mkdir -p "$DESTDIR$UNITS" "$DESTDIR$LIB/sysusers.d" "$DESTDIR$LIB/tmpfiles.d"
    for unit in $UNIT_NAMES; do
        sed "s|/usr/local/bin/|$BIN/|" "units/$unit" >"$DESTDIR$UNITS/$unit"
    done
    cp units/sysusers.d/netbootd.conf "$DESTDIR$LIB/sysusers.d/netbootd.conf"
    cp units/tmpfiles.d/netbootd.conf "$DESTDIR$LIB/tmpfiles.d/netbootd.conf"
    here || return 0
    if ! command -v systemd-sysusers >/dev/null || ! command -v systemd-tmpfiles >/dev/null; then
        say "no systemd here: make the user netbootd and what is in units/tmpfiles.d by hand"
        return 0
    fi
    systemd-sysusers "$LIB/sysusers.d/netbootd.conf"
    systemd-tmpfiles --create "$LIB/tmpfiles.d/netbootd.conf"
}

# As dpkg does it: what was never edited follows the new version, what was edited stays.
configuration() {
    installed=$DESTDIR$HOME_DIR/netbootd.toml.installed
    config=$DESTDIR$CONFIG
    "$DESTDIR$HOME_DIR/bin/python" -I -c \
        'from netbootd.render import Renderer; print(Renderer().render("netbootd.toml.j2"), end="")' \
        >"$installed.new"
    mkdir -p "${config%/*}/templates"
    if [ ! -e "$config" ] || cmp -s "$config" "$installed"; then
        cp "$installed.new" "$config"
    else
        say "$CONFIG stays as it is"
    fi
    mv "$installed.new" "$installed"
}

install_all() {
    need_root install
    packages
    find_python
    virtual_environment
    completions
    units
    configuration
    if systemd_runs; then
        systemctl daemon-reload
        if systemctl --quiet is-active netbootd.service; then
            say "restarting netbootd"
            systemctl restart netbootd.service
        fi
    fi
    say "done"
    here || return 0
    systemctl --quiet is-enabled netbootd.service 2>/dev/null || cat <<-END
	Next, for the wire with your nodes on it:
	    netbootctl setup --interface eth1
	END
}

# ---- uninstall

# Whether netbootd.toml is as it was installed.
pristine() { cmp -s "$DESTDIR$CONFIG" "$DESTDIR$HOME_DIR/netbootd.toml.installed"; }

# Exports and the names of nodes in this machine's own files: what isn't served any more shouldn't be offered.
take_out() {
    ctl=$HOME_DIR/bin/netbootctl
    if here && [ -x "$ctl" ] && ! pristine; then
        "$ctl" apply --undo || {
            say "once more, with the places of files that hold where netbootd.toml says nothing"
            defaults=$(mktemp)
            printf '[[network]]\ninterface = "lo"\n' >"$defaults"
            "$ctl" --config "$defaults" apply --undo ||
                say "look for blocks marked netbootd in /etc/hosts and /etc/ssh/ssh_known_hosts"
            rm -f "$defaults"
        }
    fi
    # With nothing in it now; only who includes it in a configuration of his own needs it still.
    grep -qs netbootd.conf "$DESTDIR/etc/ganesha/ganesha.conf" || rm -f "$DESTDIR/etc/ganesha/netbootd.conf"
    # Made at installation; of no use when empty.
    [ -s "$DESTDIR/etc/ssh/ssh_known_hosts" ] || rm -f "$DESTDIR/etc/ssh/ssh_known_hosts"
    rmdir "$DESTDIR/etc/exports.d" "$DESTDIR/etc/ganesha" 2>/dev/null || true
}

uninstall_all() {
    need_root uninstall
    if systemd_runs; then
        for unit in $UNIT_NAMES; do
            [ "$unit" = netbootd-ganesha.service ] || systemctl disable --now --quiet "$unit" 2>/dev/null || true
        done
    fi
    take_out
    if systemd_runs; then # after it was told that it exports nothing any more
        systemctl disable --now --quiet netbootd-ganesha.service 2>/dev/null || true
    fi
    if pristine; then
        rm -f "$DESTDIR$CONFIG"
    fi
    for unit in $UNIT_NAMES; do
        rm -f "$DESTDIR$UNITS/$unit"
    done
    rm -f "$DESTDIR$LIB/sysusers.d/netbootd.conf" "$DESTDIR$LIB/tmpfiles.d/netbootd.conf"
    rm -f "$DESTDIR$BIN/netbootd" "$DESTDIR$BIN/netbootctl"
    rm -f "$DESTDIR$BASH_COMPLETION" "$DESTDIR$ZSH_COMPLETION" "$DESTDIR$FISH_COMPLETION"
    rm -rf "$DESTDIR$HOME_DIR" "$DESTDIR/run/netbootd" "$DESTDIR/var/cache/netbootd"
    for directory in /etc/netbootd/templates /etc/netbootd /etc/fish/completions /etc/fish; do
        rmdir "$DESTDIR$directory" 2>/dev/null || true
    done
    if systemd_runs; then
        systemctl daemon-reload
        # shellcheck disable=SC2086  # a list of names
        systemctl reset-failed $UNIT_NAMES 2>/dev/null || true
    fi
    say "netbootd is gone from this machine"
    for kept in "$STATE" /etc/netbootd; do
        if [ -e "$DESTDIR$kept" ]; then
            say "kept: $kept (rm -r $kept to be rid of it)"
        fi
    done
    if here && id netbootd >/dev/null 2>&1; then
        say "kept: the user netbootd, who owns the registry in there (userdel netbootd)"
    fi
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "install.sh install|uninstall" ;;
esac

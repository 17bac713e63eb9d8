# netbootd. `make demo` shows it, `make test` proves it, `make install` puts it on this machine.

PYTHON  ?= python3
VENV    := .venv
STAMP   := $(VENV)/.installed
PYTEST_ARGS ?=

# What Debian has to provide; packages.sh installs only what is missing, and starts no service.
LAB_PACKAGES  := python3-venv iproute2 util-linux mount qemu-system-x86 ovmf ipxe ipxe-qemu \
                 nfs-ganesha nfs-ganesha-vfs rpcbind mmdebstrap openssh-client zstd xz-utils cpio
DEMO_PACKAGES := $(LAB_PACKAGES)
TEST_PACKAGES := $(LAB_PACKAGES) busybox udhcpc klibc-utils isc-dhcp-client isc-dhcp-relay tftp-hpa atftp curl wget libnfs-utils \
                 nfs-kernel-server dnsmasq-base isc-dhcp-server kea-dhcp4-server nftables iptables tshark binutils kmod shellcheck \
                 libsystemd-dev pkg-config gcc python3-dev \
                 e2fsprogs dosfstools mtools fdisk btrfs-progs f2fs-tools erofs-utils xfsprogs squashfs-tools zip bzip2 lz4 \
                 skopeo xorriso systemd-container qemu-system-arm qemu-efi-aarch64 pxelinux syslinux-common netpbm \
                 grub-efi-amd64-signed shim-signed u-boot-qemu u-boot-tools chrony passwd apt-utils gpg qemu-user-static

.PHONY: help venv deps-demo deps-test demo demo-stop test clean

help:
	@echo 'make demo       boot two diskless machines (QEMU) through netbootd; KEEP=1 leaves them running'
	@echo 'make demo-stop  end a demo that was kept running'
	@echo 'make test       every test; what could not run is named at the end (PYTEST_ARGS="-k tftp" for some)'
	@echo 'make install    put netbootd on this machine; make uninstall takes it away and keeps the state'
	@echo 'make clean      remove what was built here: the demo'\''s image, caches, the virtual environment'

# ---- demo and test ---------------------------------------------------------------------------------------

venv: $(STAMP)
	@:

$(STAMP): pyproject.toml
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) || \
	    { echo 'make: python3 -m venv failed; run: apt-get install python3-venv' >&2; rm -rf $(VENV); exit 1; }
	@echo 'make: installing what pyproject.toml names into $(VENV)'
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# systemd-python is optional and comes as source: tried where it can be built, else named among what wasn't.
$(VENV)/.systemd: $(STAMP)
	@! pkg-config --exists libsystemd || \
	    $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,systemd]' || \
	    echo 'make: systemd-python could not be built; the tests with it are left out' >&2
	@touch $@

deps-demo:
	@sh tests/lab/packages.sh $(DEMO_PACKAGES)

# Without root the tests still run: those that need a missing command are named at the end.
deps-test:
	@sh tests/lab/packages.sh $(if $(filter 0,$(shell id -u)),,--advise) $(TEST_PACKAGES)

demo: deps-demo
	@$(MAKE) --no-print-directory venv
	@$(VENV)/bin/python -m tests.lab.demo $(if $(filter-out 0,$(KEEP)),--keep)

demo-stop:
	@$(VENV)/bin/python -m tests.lab.demo --stop

test: deps-test
	@$(MAKE) --no-print-directory venv $(VENV)/.systemd
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

clean:
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- install and uninstall -------------------------------------------------------------------------------
# PREFIX=/usr/local. With DESTDIR all goes into a staging directory and nothing of this machine is touched.

PREFIX ?= /usr/local
# What a head node needs while it runs, beside chrony (or another time server that is there) and an NFS server:
# nfs-kernel-server, or nfs-ganesha where the kernel has none; NFS_SERVER="nfs-ganesha nfs-ganesha-vfs" settles it.
RUNTIME_PACKAGES := python3-venv ipxe openssh-client mmdebstrap zstd xz-utils bzip2 squashfs-tools
INSTALL          := DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' PYTHON='$(PYTHON)' NFS_SERVER='$(NFS_SERVER)' \
                    PACKAGES='$(RUNTIME_PACKAGES)' sh units/install.sh

.PHONY: install uninstall

install:
	@$(INSTALL) install

uninstall:
	@$(INSTALL) uninstall

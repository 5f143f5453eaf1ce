# make demo                                    the node on an example image, in this terminal
# make demo IMAGE=table.png SAY="the red mug"  on your own image, with your own words
# make demo CAMERA=live                        on a simulated camera
# make test                                    all tests
# Both set everything up first: .venv (Python packages and ROS 2, about 3 minutes, once) and install/ (the messages).
# Also: make venv, make build, make gl (OSMesa, to render), make clean, make distclean (.venv too).

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo test venv build gl clean distclean

ENV := tools/ros_env.sh
VENV := .venv/.stamp
INSTALL := install/.stamp

help:
	@sed -n 's/^# //p; /^$$/q' Makefile

# The shell, not make, puts the words in: they may hold quotes.
demo: build
	@$(ENV) python -m clue_ros.ros.demo $${IMAGE:+--image "$$IMAGE"} $${SAY:+--say "$$SAY"} $${CAMERA:+--camera "$$CAMERA"}

# Tests talk to nobody but themselves, whatever robot is on the network.
test: build
	@tools/system_packages.sh gl .venv/bin/python || true
	@ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(ENV) python -m pytest test

venv: $(VENV)
$(VENV): $(wildcard requirements/*.txt) tools/make_venv.sh tools/patch_wheels.py
	@tools/make_venv.sh
	@touch $@

# Linked, not copied: an edit of a Python file needs no build. A new or removed script, launch, config or example file does.
build: $(INSTALL)
$(INSTALL): $(VENV) CMakeLists.txt package.xml $(wildcard msg/*.msg action/*.action scripts launch config examples)
	@echo "building the messages (about 30 seconds)"
	@mkdir -p log
	@$(ENV) colcon --log-base log build --symlink-install --paths . --cmake-force-configure \
	  --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(CURDIR)/.venv/bin/python >log/build.txt 2>&1 \
	  || { cat log/build.txt; exit 1; }
	@touch $@

gl: $(VENV)
	@tools/system_packages.sh gl .venv/bin/python

clean:
	rm -rf build install log

distclean: clean
	rm -rf .venv

# Two commands do all: `make run` and `make test`. What each does stands in scripts/.
PYTHON ?= python3
SEEDS ?= 500
export SEEDS ARGS PEERS SCALE SCENARIO SEED SECONDS NODES LIST PLANTED CHECK REGRESSIONS ATTACH

.DEFAULT_GOAL := help
.PHONY: run local stop clean build test lint sim bench chaos chaos-clean help

run: ## three nodes: containers, or local processes where there is no Docker engine
	@$(PYTHON) -m scripts run

local: ## the same three nodes as local processes; data, logs and pids under .rmq/
	@$(PYTHON) -m scripts local

stop: ## end either kind, keep the data
	@$(PYTHON) -m scripts stop

clean: ## end either kind, forget the data
	@$(PYTHON) -m scripts clean

build: ## the images alone: the node's, and that of the command rmq
	@$(PYTHON) -m scripts build

test: ## everything: lint, unit, simulation, HTTP, browser, containers; ARGS="-k name" narrows it
	@$(PYTHON) -m scripts test

sim: ## the simulated world over SEEDS seeds (SEEDS=500)
	@$(PYTHON) -m scripts sim

lint: ## style
	@$(PYTHON) -m scripts lint

bench: ## rates, failover and costs of three local nodes against their goals; PEERS=rabbitmq,nats,etcd,pysyncobj beside them; SCALE=1: how it scales
	@$(PYTHON) -m scripts bench

chaos: ## break containers, prove that nothing is lost: SCENARIO= SEED= SECONDS= NODES=, LIST=1, REGRESSIONS=1, PLANTED=all, CHECK=folder
	@$(PYTHON) -m scripts chaos

chaos-clean: ## remove what chaos runs have left; ATTACH=project mends a cluster that a run had borrowed
	@$(PYTHON) -m scripts chaos-clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

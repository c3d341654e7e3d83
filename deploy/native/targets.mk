# The running system. Included by the Makefile.
.PHONY: up down status logs apply demo bench temporal

up: $(SYNCED) ## bring the whole system up (Postgres, Kafka, Debezium, gateway, services, provider simulators)
	@$(BIN)/python -m deploy.native up

down: $(SYNCED) ## stop it; data stays in .vantage/
	@$(BIN)/python -m deploy.native down

status: $(SYNCED) ## what runs, where, and what differs from what is declared
	@$(BIN)/python -m deploy.native status

logs: $(SYNCED) ## the last lines of one process: make logs NAME=workflows
	@$(BIN)/python -m deploy.native logs $(or $(NAME),supervisord)

apply: $(SYNCED) ## topics, connector, roles and publication as declared
	@$(BIN)/python -m deploy.native apply

temporal: $(SYNCED) ## build the Temporal server, once (VANTAGE_WORKFLOW_ENGINE=temporal make up uses it)
	@$(BIN)/python -m deploy.native temporal

demo: $(SYNCED) ## show the main job: one booking from webhook to e-mail, timeline and ledger
	@$(BIN)/python -m deploy.demo

bench: $(SYNCED) ## measure the running system; prints tables (about five minutes)
	@$(BIN)/python -m tests.bench

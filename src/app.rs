//! Assembly: Config -> App (bind, open, connect) -> run. The only place that spawns the stages.

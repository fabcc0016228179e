-- What can be said to a rollout now. Every command names the revision and the trial that it means, some the step, as the
-- status has them: one that comes too late hits nothing.
local rollout = {}
local pending, stalled = false, nil
if obj.status ~= nil then
  rollout = obj.status.rollout or rollout
  for _, condition in ipairs(obj.status.conditions or {}) do
    pending = pending or (condition.type == "RolledOut" and condition.reason == "Pending")
    if condition.type == "Stalled" and condition.status == "True" then
      stalled = condition.reason
    end
  end
end
local annotations = obj.metadata.annotations or {}
local state, candidate = rollout.state, rollout.candidate
local trial = nil
if candidate ~= nil and rollout.trial ~= nil then
  trial = candidate .. "/" .. rollout.trial
end
local underWay = trial ~= nil and (state == "Rolling" or state == "Promoting" or state == "Baking")

-- A value that the annotation has already was said: it is acted on, or was, and saying it again changes nothing.
local function command(name, icon, sensible, value)
  local said = sensible and annotations["microservice.dev/" .. name] == value
  return { disabled = not sensible or said, iconClass = "fa fa-fw " .. icon }, said
end

local actions = {}
local said

actions["promote"], said = command("promote", "fa-step-forward", rollout.promote ~= nil, rollout.promote)
actions["promote"].displayName = "Promote"
if said then
  actions["promote"].displayName = "Promote (was said)"
elseif rollout.promote ~= nil and rollout.step ~= nil and rollout.of ~= nil then
  actions["promote"].displayName = "Promote: end step " .. rollout.step .. " of " .. rollout.of
end

actions["promote-full"] = command("promote-full", "fa-fast-forward", underWay and state == "Rolling", trial)
actions["promote-full"].displayName = "Promote fully: skip the steps that are left"

actions["abort"] = command("abort", "fa-undo", underWay, trial)
actions["abort"].displayName = "Abort: take the candidate back"

-- What was taken back, or a first revision whose Job before its pods failed.
local held = trial ~= nil and (state == "Steady" or (state == "Starting" and stalled == "PreDeployFailed"))
actions["retry"] = command("retry", "fa-redo", held, trial)
actions["retry"].displayName = "Retry what was taken back"

actions["pause"] = command("pause", "fa-pause", underWay, trial)
actions["pause"].displayName = "Pause the rollout"

actions["resume"] = {
  disabled = not underWay or annotations["microservice.dev/pause"] ~= trial,
  iconClass = "fa fa-fw fa-play",
  displayName = "Resume the rollout",
}

-- What the spec asks for brings new pods anyway when it has not gone out yet.
local asked = candidate
if state == "Steady" and candidate == nil and not pending then
  asked = rollout.stable
end
actions["restart"] = command("restart", "fa-sync", asked ~= nil and state ~= "Returning", asked)
actions["restart"].displayName = "Restart pods"

return actions
